"""The resource owner password credentials grant (RFC 6749 section 4.3).

RFC 9700 section 2.4 forbids this grant to new designs: the application sees the user's password.
SquadRun's API offers no other, and its password is that of an account made for the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from evertoken.errors import discreet
from evertoken.grants.credentials import given, read, require
from evertoken.grants.endpoint_grant import EndpointGrant, Own
from evertoken.grants.options import token_endpoint

if TYPE_CHECKING:
    from evertoken.grants.credentials import Secret
    from evertoken.grants.options import EndpointOptions


class PasswordGrant(EndpointGrant):
    """Asks for a token with a user name and a password.

    ```python
    import os
    from evertoken import PasswordGrant

    grant = PasswordGrant(
        "https://id.example.com/oauth/token/",
        client_id="my-app",
        client_secret=lambda: os.environ["CLIENT_SECRET"],
        username="ann",
        password=lambda: os.environ["PASSWORD"],
        extra={"audience": "https://api.example.com"},
    )
    ```

    Args:
        token_url: the token endpoint; its query is kept.
        client_id, client_secret, username, password: text, or a callable that is asked at each
            grant and whose answer is not kept. No `client_id`: the server wants none. No secret, or
            an empty one: a public client.
        scope: space-separated (RFC 6749 section 3.3); None leaves it to the server.
        extra: further form parameters (`audience`, `resource`, `realm` …). Text is a part of the
            identity: another audience is another token. A callable is asked at each grant; what it
            returns is a secret, such as a one-time password, and no part of the identity.
        headers: further header fields, text or callables, for the revocation endpoint too. All but
            `User-Agent`, `Accept` and `Accept-Language` are a part of the identity (a tenant), and
            count as secrets (an API key): no error repeats them, and as text they do not pickle.
        revoke_url: the revocation endpoint; None: `revoke()` forgets the token here, and raises
            `RevocationFailed`.
        client_auth: `"body"`, `"basic"` for HTTP Basic with form-encoded credentials (RFC 6749
            section 2.3.1), or `"basic-raw"` for HTTP Basic with them as they are, which many
            servers want. They differ if an id or secret has other characters than letters, digits
            and `-._~`.
        timeout: seconds without a byte after which a request ends.
        deadline: seconds after which a grant or a revocation ends in any case.
        default_lifetime: seconds that a token lives whose answer does not say.
        lifetime: seconds that a token lives whatever the answer says. For a server whose
            `expires_in: 0` means never.
        max_lifetime: seconds that a token lives at most.
        verify, cert, proxies: as `requests` takes them. `verify` may be an `ssl.SSLContext`, which
            is used as it is. An `http://` URL on loopback is asked without a proxy.
        transport: a callable that returns a `requests.Session`, asked at each request, for what no
            option covers. Its adapters, proxies, `verify`, `cert`, `trust_env` and default headers
            are used. Its login, cookies, hooks, redirects and retries are not, nor are its
            connections. `timeout` and the bound on the body hold for every adapter, `deadline` for
            each `HTTPAdapter`.
        allow_http: allow `http://` beyond loopback, where the password travels in plain text.

    Raises:
        InsecureURL: a URL is not https.
        ConfigurationError: an empty id, user name or password.
        ValueError: a URL with a fragment or a login, a scope
            with characters that none may have, a time that is not a number of seconds above 0, a
            parameter or header field that has an option of its own, or options that exclude each
            other.
        TypeError: a credential is neither text nor callable, or `transport` is not callable.
    """

    __slots__ = ("_password", "_username")

    _SECRETS: ClassVar = ("password", "client_secret")
    _REMEDY = "check the user name and the password"

    @discreet
    def __init__(
        self,
        token_url: str,
        *,
        client_id: Secret | None = None,
        client_secret: Secret | None = None,
        username: Secret,
        password: Secret,
        **options: Unpack[EndpointOptions],
    ) -> None:
        # all at once: an environment that was not loaded leaves several of them empty
        require({"username": username, "password": password})
        super().__init__(
            token_endpoint(token_url, **options), client_id=client_id, client_secret=client_secret
        )
        self._username = given("username", username)
        self._password = given("password", password)

    @property
    def account(self) -> str | None:
        """The user name if it is text: known before the credentials are read."""
        return self._username if isinstance(self._username, str) else None

    def _own(self) -> Own:
        username, password = read("username", self._username), read("password", self._password)
        form = [("grant_type", "password"), ("username", username), ("password", password)]
        return Own(username, form, [password], (username, password))

    def _username_now(self) -> str:
        return read("username", self._username)

    @property
    def _sources(self) -> tuple[Secret, ...]:
        return self._username, self._password
