"""The client credentials grant (RFC 6749 section 4.4): the client acts for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from evertoken.errors import ConfigurationError, discreet
from evertoken.grants.endpoint_grant import EndpointGrant, Own
from evertoken.grants.options import EndpointOptions, token_endpoint

if TYPE_CHECKING:
    from evertoken.grants.client_assertion import AssertionSource
    from evertoken.grants.credentials import Secret


class ClientCredentialsGrant(EndpointGrant):
    """Asks for a token with the client's own credentials.

    ```python
    from pathlib import Path
    from evertoken import ClientCredentialsGrant

    grant = ClientCredentialsGrant(
        "https://id.example.com/oauth/token/",
        client_id="my-service",
        client_assertion=Path("/var/run/secrets/tokens/id.example.com"),
        extra={"resource": "https://api.example.com"},
    )
    ```

    Args:
        token_url: the token endpoint; its query is kept.
        client_id, client_secret: text, or a callable that is asked at each grant and whose answer
            is not kept.
        client_assertion: a JWT in the place of the secret (RFC 7523 section 2.2): a callable that
            returns it, or the path of a file, read at each grant. A file with another content is
            another credential, and ends a cool-down; a callable always counts as the same one.
        **options: as `EndpointOptions` has them: `scope`, `extra`, `client_auth`, `revoke_url` …

    Raises:
        InsecureURL: a URL is not https.
        ConfigurationError: no secret and no assertion.
        ValueError: both, or an option has a value that it cannot have.
        TypeError: a credential is not of a kind that can be read.
    """

    __slots__ = ()

    _REMEDY = "check the client's credentials"

    @discreet
    def __init__(
        self,
        token_url: str,
        *,
        client_id: Secret,
        client_secret: Secret | None = None,
        client_assertion: AssertionSource | None = None,
        **options: Unpack[EndpointOptions],
    ) -> None:
        if not client_secret and client_assertion is None:
            # RFC 6749 section 4.4: a public client cannot prove who it is
            raise ConfigurationError("give a client_secret or a client_assertion")
        super().__init__(
            token_endpoint(token_url, **options),
            client_id=client_id,
            client_secret=client_secret,
            client_assertion=client_assertion,
        )

    def _own(self) -> Own:
        return Own(None, [("grant_type", "client_credentials")], [], ())

    def _username_now(self) -> None:
        return None

    @property
    def _sources(self) -> tuple[Secret, ...]:
        return ()
