"""The refresh token grant (RFC 6749 section 6): one login that rotates, shared by a whole fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from evertoken.errors import discreet
from evertoken.grants.credentials import given
from evertoken.grants.login import LoginGrant
from evertoken.grants.options import EndpointOptions, token_endpoint

if TYPE_CHECKING:
    from evertoken.grants.client_assertion import AssertionSource
    from evertoken.grants.credentials import Secret
    from evertoken.ports import Grant


class RefreshTokenGrant(LoginGrant):
    """Renews with the newest refresh token that the store knows: its manager needs a store.

    ```python
    from evertoken import FileStore, RefreshTokenGrant, TokenManager

    grant = RefreshTokenGrant(
        "https://id.example.com/oauth/token/",
        account="ann",
        client_id="my-app",
        refresh_token="…",
    )
    manager = TokenManager(grant, store=FileStore("~/.local/state/my-app"))
    ```

    Args:
        token_url: the token endpoint; its query is kept.
        account: whose login it is, by a name of your own. It is a part of the identity, so that two
            users of one client never share a login.
        client_id, client_secret, client_assertion: as `ClientCredentialsGrant` has them; a public
            client has an id alone.
        refresh_token: the first one, text or a callable. One that the store does not know starts a
            new login; one that was used before never replaces its successor. None: the store's.
        fallback: a grant that starts a new login when there is none, such as a `PasswordGrant`.
        **options: as `EndpointOptions` has them: `scope`, `extra`, `client_auth`, `revoke_url` …

    Raises:
        InsecureURL: a URL is not https.
        ValueError: an option has a value that it cannot have, or one excludes another.
        TypeError: a credential is not of a kind that can be read.
    """

    __slots__ = ()

    _REMEDY: ClassVar = "the login has ended, or another client made it: log in again"

    @discreet
    def __init__(
        self,
        token_url: str,
        *,
        account: Secret,
        client_id: Secret,
        client_secret: Secret | None = None,
        client_assertion: AssertionSource | None = None,
        refresh_token: Secret | None = None,
        fallback: Grant | None = None,
        **options: Unpack[EndpointOptions],
    ) -> None:
        super().__init__(
            token_endpoint(token_url, **options),
            client_id=client_id,
            client_secret=client_secret,
            client_assertion=client_assertion,
        )
        self._account = given("account", account)
        self._refresh_token = (
            None if refresh_token is None else given("refresh_token", refresh_token)
        )
        self.fallback = fallback
