"""The resource owner password credentials grant (RFC 6749 section 4.3), and revocation (RFC 7009).

RFC 9700 section 2.4 forbids this grant to new designs: the application sees the user's password.
SquadRun's API offers no other, and its password is that of an account made for the API.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from typing import TYPE_CHECKING, Literal, Self

from evertoken import ownership, urls
from evertoken.core.token import LONGEST_LIFETIME, Token, TokenKey
from evertoken.errors import RevocationFailed
from evertoken.grants.credentials import given, read
from evertoken.runtime import clock
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evertoken import credentials
    from evertoken.credentials import Credentials
    from evertoken.grants import client_auth, endpoint, response, revocation
    from evertoken.grants.client_auth import Client
    from evertoken.grants.credentials import Secret
    from evertoken.grants.endpoint import Endpoint
    from evertoken.ownership import Source
    from evertoken.runtime import reports
else:
    # a process that finds a token in its store asks for none
    credentials = lazy("evertoken.credentials")
    reports = lazy("evertoken.runtime.reports")
    client_auth, endpoint, response, revocation = (
        lazy(f"evertoken.grants.{room}")
        for room in ("client_auth", "endpoint", "response", "revocation")
    )

Reach = tuple[float, float, bool | str, str | tuple[str, str] | None, tuple[tuple[str, str], ...]]
"""How an endpoint is reached: the fields of `Endpoint`, in its order."""

# one for all: an empty frozenset is 216 bytes, and a new one each time
_NOTHING: frozenset[str] = frozenset()

# in memory only, and another in each process: its hashes are of no use anywhere else
_FINGERPRINT_KEY = os.urandom(32)


class PasswordGrant:
    """Asks for a token with a user name and a password.

    Args:
        token_url: the token endpoint; its query is kept.
        client_id, client_secret, username, password: text, or a callable that is asked at each
            grant and whose answer is not kept. No secret, or an empty one: a public client.
        scope: space-separated (RFC 6749 section 3.3); None leaves it to the server.
        revoke_url: the revocation endpoint; None: `revoke()` only forgets.
        client_auth: `"body"`, or `"basic"` for HTTP Basic (RFC 6749 section 2.3.1).
        timeout: seconds without a byte after which a request ends.
        deadline: seconds after which a grant or a revocation ends in any case.
        default_lifetime: seconds that a token lives whose answer does not say.
        verify, cert, proxies: as `requests` takes them. An `http://` URL on loopback is asked
            without a proxy.
        allow_http: allow `http://` beyond loopback, where the password travels in clear.

    Raises:
        InsecureURL: a URL is no https URL.
        ValueError: an empty id, user name or password, a URL with a fragment or a login, a scope
            with characters that none may have, or a time that is no number of seconds above 0.
    """

    __slots__ = (
        "_client_id",
        "_client_secret",
        "_last_tag",
        "_password",
        "_reach",
        "_said",
        "_username",
        "client_auth",
        "default_lifetime",
        "revoke_url",
        "scope",
        "token_url",
    )

    def __init__(
        self,
        token_url: str,
        *,
        client_id: Secret,
        client_secret: Secret | None = None,
        username: Secret,
        password: Secret,
        scope: str | None = None,
        revoke_url: str | None = None,
        client_auth: Literal["body", "basic"] = "body",
        timeout: float = 10.0,
        deadline: float = 30.0,
        default_lifetime: float = 300.0,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        allow_http: bool = False,
    ) -> None:
        self.token_url = urls.checked(token_url, what="token_url", allow_http=allow_http)
        self.revoke_url = (
            urls.checked(revoke_url, what="revoke_url", allow_http=allow_http)
            if revoke_url
            else None
        )
        if client_auth not in ("body", "basic"):
            raise ValueError(f'client_auth must be "body" or "basic", not {client_auth!r}')
        self._client_id = given("client_id", client_id)
        self._client_secret = given("client_secret", client_secret) if client_secret else None
        self._username = given("username", username)
        self._password = given("password", password)
        self.scope = _scope(scope)
        self.client_auth = client_auth
        self.default_lifetime = _seconds("default_lifetime", default_lifetime, LONGEST_LIFETIME)
        self._reach = _shared(
            _seconds("timeout", timeout, threading.TIMEOUT_MAX),
            _seconds("deadline", deadline, threading.TIMEOUT_MAX),
            verify,
            cert,
            tuple((proxies or {}).items()),
        )
        self._said = _NOTHING
        self._last_tag: tuple[bytes, bytes] | None = None

    @property
    def key(self) -> TokenKey:
        """Whose token: URL, client, user and scope, never the password."""
        return self._key(read("client_id", self._client_id), read("username", self._username))

    def _key(self, client_id: str, username: str) -> TokenKey:
        return TokenKey(
            token_url=self.token_url, client_id=client_id, username=username, scope=self.scope
        )

    @property
    def deadline(self) -> float:
        """Seconds after which a request ends in any case."""
        return self._reach[1]

    @property
    def source(self) -> Source:
        """Where the credentials come from: a seal for text, and callables as they are."""
        return ownership.source(
            (self._client_id, self._client_secret, self._username, self._password)
        )

    def read(self) -> Credentials:
        """The credentials as they are now: each callable is asked once.

        Raises:
            GrantUnavailable: a credential is missing, or its callable raised.
        """
        username, password = read("username", self._username), read("password", self._password)
        client = self._client()
        parts = (client.identity, client.secret, username, password)
        source = self.source
        form = [("grant_type", "password"), ("username", username), ("password", password)]
        return credentials.Credentials(
            key=self._key(client.identity, username),
            source=source,
            fingerprint=ownership.fingerprint_of(parts, source),
            request=functools.partial(self._ask, form, client, [password, *client.secrets]),
            tag=functools.partial(self._tag, repr(parts).encode()),
        )

    def request(self) -> Token:
        """Ask for a token once (RFC 6749 section 4.3.2).

        Raises:
            GrantRefused, GrantUnavailable, InvalidTokenResponse: without a secret.
        """
        return self.read().request()

    def _ask(self, form: list[tuple[str, str]], client: Client, secrets: list[str]) -> Token:
        if self.scope:
            form = [*form, ("scope", self.scope)]
        asked_at = clock.now()
        answer = self._endpoint.post(self.token_url, [*form, *client.form], basic=client.basic)
        granted = response.parse(answer, secrets=secrets)
        if not granted.typed:
            self._say(form, "the answer names no token_type: it is taken for Bearer")
        if granted.lifetime is None:
            self._say(
                form, f"the answer names no expires_in: {self.default_lifetime:g} s are assumed"
            )
        lifetime = self.default_lifetime if granted.lifetime is None else granted.lifetime
        return Token(
            value=granted.value,
            issued_at=asked_at.wall,
            expires_at=asked_at.wall + lifetime,
            scope=granted.scope,
            refresh_token=granted.refresh_token,
            issued_boot=asked_at.boot,
        )

    def revoke(self, token: Token) -> None:
        """Revoke the refresh token where there is one, then the access token (RFC 7009).

        The second is tried even if the first failed; both within one deadline. A status of 200 is
        success whatever the body says (section 2.2).

        Raises:
            RevocationFailed: the server did not confirm, or there is no `revoke_url`.
        """
        if self.revoke_url is None:
            raise RevocationFailed(
                "the token lives on at the server: no revoke_url was given; it was forgotten here"
            )
        revocation.revoke(self._endpoint, self.revoke_url, token, client=self._client)

    def credentials_tag(self, salt: bytes) -> bytes:
        """A scrypt hash of the credentials (16 MiB, about 50 ms): only around a refusal.

        The last one is remembered under a fingerprint that means nothing outside this process.
        """
        return self.read().tag(salt)

    def _tag(self, credentials: bytes, salt: bytes) -> bytes:
        fingerprint = hashlib.blake2b(salt + credentials, key=_FINGERPRINT_KEY).digest()
        if self._last_tag is None or self._last_tag[0] != fingerprint:
            self._last_tag = fingerprint, hashlib.scrypt(credentials, salt=salt, n=2**14, r=8, p=1)
        return self._last_tag[1]

    def __repr__(self) -> str:
        return f"PasswordGrant({self.token_url!r})"

    def __deepcopy__(self, memo: object) -> Self:
        # it never changes but for what it has said, and a copy would duplicate secrets
        return self

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        literal = [
            name
            for name in ("password", "client_secret")
            if isinstance(getattr(self, f"_{name}"), str)
        ]
        if literal:
            raise TypeError(
                f"a PasswordGrant with its {' and '.join(literal)} as text does not pickle, so "
                "that no secret travels by accident: give a callable that another process can "
                "call too, or set the SQUADRUN_* variables and use evertoken.squadrun"
            )
        kept = {name: getattr(self, name) for name in self.__slots__}
        return None, {**kept, "_last_tag": None}

    @property
    def _endpoint(self) -> Endpoint:
        return endpoint.Endpoint(*self._reach)

    def _client(self) -> Client:
        identity = read("client_id", self._client_id)
        if self._client_secret is None:
            return client_auth.Client(identity, None, in_body=True)
        secret = read("client_secret", self._client_secret)
        return client_auth.Client(identity, secret, in_body=self.client_auth == "body")

    def _say(self, form: list[tuple[str, str]], what: str) -> None:
        if what not in self._said:
            self._said |= {what}
            reports.warning("%s at %s: %s", dict(form)["username"], self.token_url, what)


@functools.lru_cache(maxsize=64)
def _shared(*settings: *Reach) -> Reach:
    """The settings of an endpoint, one object for all accounts of a server."""
    return settings


def _scope(scope: str | None) -> str | None:
    if scope and not response.SCOPE.fullmatch(scope):
        raise ValueError(
            "scope must be words of printable ASCII without quotes and backslashes, one space apart"
        )
    return scope or None


def _seconds(name: str, value: float, most: float) -> float:
    if not 0 < value <= most:
        raise ValueError(f"{name} must be seconds above 0, at most {most:.0f}, not {value!r}")
    return value
