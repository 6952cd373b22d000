"""What all grants at a token endpoint share: credentials are read, hashed and never pickled."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from evertoken import ownership
from evertoken.errors import discreet
from evertoken.grants import additions
from evertoken.grants.client_assertion import ClientAssertion
from evertoken.grants.credentials import given, read
from evertoken.grants.token_endpoint import TokenRequest
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from evertoken import credentials
    from evertoken.core.token import Token, TokenKey
    from evertoken.credentials import Credentials
    from evertoken.grants import travelling
    from evertoken.grants.additions import Pairs
    from evertoken.grants.client_assertion import AssertionSource
    from evertoken.grants.client_auth import Client, ClientAuth
    from evertoken.grants.credentials import Secret
    from evertoken.grants.token_endpoint import TokenEndpoint
    from evertoken.ownership import Source
    from evertoken.runtime import reports
else:
    # a process that finds a token in its store asks for none
    credentials = lazy("evertoken.credentials")
    reports = lazy("evertoken.runtime.reports")
    travelling = lazy("evertoken.grants.travelling")

# one for all: an empty frozenset is 216 bytes, and a new one each time
_NOTHING: frozenset[str] = frozenset()

# in memory only, and another in each process: its hashes are of no use anywhere else
_FINGERPRINT_KEY = os.urandom(32)


class Own(NamedTuple):
    """What a grant itself adds to a request, as it was read.

    Attributes:
        username: whose token it is; None: the client's own.
        form: the parameters.
        secrets: the secrets among their values.
        credentials: what tells these credentials from others of the same account.
    """

    username: str | None
    form: Pairs
    secrets: list[str]
    credentials: tuple[str, ...]


class EndpointGrant:
    """A grant at a token endpoint; a subclass says whose token it is for and what it posts.

    Args:
        endpoint: the server's.
        client_id, client_secret: text or callables. No id: the server wants none. No secret, or an
            empty one: a public client.
        client_assertion: in the place of a secret, a JWT (RFC 7523 section 2.2): a callable or the
            path of a file, read at each grant.

    Raises:
        ValueError: an empty id, a secret without an id, or both a secret and an assertion.
        TypeError: a credential is not of a kind that can be read.
    """

    __slots__ = ("_client_id", "_client_secret", "_endpoint", "_last_tag", "_said")

    _SECRETS: ClassVar[tuple[str, ...]] = ("client_secret",)
    """The options that do not pickle as text."""

    exclusive: ClassVar[bool] = False
    """Whether it spends a rotating refresh token, which one process may do at a time."""

    _REMEDY: ClassVar[str]
    """What an error proposes if the server answers `invalid_grant`."""

    def __init__(
        self,
        endpoint: TokenEndpoint,
        *,
        client_id: Secret | None,
        client_secret: Secret | None,
        client_assertion: AssertionSource | None = None,
    ) -> None:
        if client_assertion is not None:
            if client_secret:
                raise ValueError("client_secret and client_assertion exclude each other")
            client_secret = ClientAssertion(client_assertion)
        if client_id is None and client_secret:
            raise ValueError("a client_secret needs a client_id")
        self._endpoint = endpoint
        self._client_id = None if client_id is None else given("client_id", client_id)
        self._client_secret = given("client_secret", client_secret) if client_secret else None
        self._said = _NOTHING
        self._last_tag: tuple[bytes, bytes] | None = None

    # -- what a subclass says ----------------------------------------------------------------------

    def _own(self) -> Own:
        """What it adds to a request now; raises what its callables raise."""
        raise NotImplementedError

    def _username_now(self) -> str | None:
        """Whose token it asks for now; raises what its callable raises."""
        raise NotImplementedError

    @property
    def _sources(self) -> tuple[Secret | None, ...]:
        """Where its own credentials come from."""
        raise NotImplementedError

    # -- what it is asked with ---------------------------------------------------------------------

    @property
    def account(self) -> str | None:
        """What errors and events call the identity before the credentials are read.

        None if that would call a callable.
        """
        return self._client_id if isinstance(self._client_id, str) else None

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return self._endpoint.token_url

    @property
    def revoke_url(self) -> str | None:
        """The revocation endpoint, if there is one."""
        return self._endpoint.revoke_url

    @property
    def scope(self) -> str | None:
        """The scope that is asked for."""
        return self._endpoint.scope

    @property
    def client_auth(self) -> ClientAuth:
        """How the client authenticates."""
        return self._endpoint.client_auth

    @property
    def default_lifetime(self) -> float:
        """Seconds that a token lives whose answer does not say."""
        return self._endpoint.default_lifetime

    @property
    def deadline(self) -> float:
        """Seconds after which a request ends in any case."""
        return self._endpoint.deadline

    @property
    @discreet
    def key(self) -> TokenKey:
        """Whose token: URL, client, user, scope and what else was asked for; never a password."""
        client_id = None if self._client_id is None else read("client_id", self._client_id)
        return self._key(client_id, self._username_now(), self._fields())

    @property
    def source(self) -> Source:
        """Where the credentials come from: a seal for text, and callables as they are."""
        return ownership.source((self._client_id, self._client_secret, *self._sources))

    # -- requests ----------------------------------------------------------------------------------

    @discreet
    def read(self) -> Credentials:
        """The credentials as they are now: each callable is asked once.

        Raises:
            GrantUnavailable: a credential is missing, or its callable raised.
        """
        own, client, fields = self._own(), self._client(), self._fields()
        extra = additions.read_parameters(self._endpoint.extra)
        parts = (client.identity, self._told_by(client.secret), *own.credentials)
        source = self.source
        scope = [("scope", self.scope)] if self.scope else []
        hidden = additions.secret_values(self._endpoint.extra, extra)
        request = TokenRequest(
            [*own.form, *scope, *extra], client, fields, [*own.secrets, *hidden], self._REMEDY
        )
        account = own.username or client.identity or "a client without an id"
        ask = functools.partial(self._endpoint.ask, say=functools.partial(self._say, account))
        return credentials.Credentials(
            key=self._key(client.identity, own.username, fields),
            source=source,
            fingerprint=ownership.fingerprint_of(parts, source),
            request=functools.partial(ask, request),
            tag=functools.partial(self._tag, repr(parts).encode()),
            refresh=(lambda token: ask(request.spending(token))) if self.exclusive else None,
        )

    @discreet
    def request(self) -> Token:
        """Ask for a token once (RFC 6749 section 4).

        Raises:
            GrantRefused, GrantUnavailable, InvalidTokenResponse: without a secret.
        """
        return self.read().request()

    @discreet
    def revoke(self, token: Token) -> None:
        """Revoke the refresh token where there is one, then the access token (RFC 7009).

        The second is tried even if the first failed; both within one deadline. Any 2xx is success
        whatever the body says (section 2.2), and so is a 400 `invalid_token`.

        Raises:
            RevocationFailed: the server did not confirm, or there is no `revoke_url`.
        """
        self._endpoint.revoke(token, client=self._client)

    @discreet
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

    def _key(self, client_id: str | None, username: str | None, fields: Pairs) -> TokenKey:
        return additions.key_of(
            self.token_url,
            client_id=client_id,
            username=username,
            scope=self.scope,
            extra=self._endpoint.extra,
            headers=fields,
        )

    def _client(self) -> Client:
        secret = self._client_secret
        return self._endpoint.client(
            None if self._client_id is None else read("client_id", self._client_id),
            None if secret is None else read("client_secret", secret),
            asserted=isinstance(secret, ClientAssertion),
        )

    def _told_by(self, secret: str | None) -> str | None:
        """What tells the client's secret from others."""
        source = self._client_secret
        return source.credential(secret) if isinstance(source, ClientAssertion) else secret

    def _fields(self) -> Pairs:
        return additions.read_fields(self._endpoint.headers)

    def _say(self, account: str, what: str) -> None:
        if what not in self._said:
            self._said |= {what}
            reports.warning("%s at %s: %s", account, self.token_url, what)

    # -- as a value --------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.token_url!r})"

    def __deepcopy__(self, memo: object) -> Self:
        # it never changes but for what it has said, and a copy would duplicate secrets
        return self

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        literal = [name for name in self._SECRETS if isinstance(getattr(self, f"_{name}"), str)]
        if obstacle := travelling.obstacle(literal, self._endpoint):
            raise TypeError(f"a {type(self).__name__} {obstacle}")
        names = (name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ()))
        return None, {**{name: getattr(self, name) for name in names}, "_last_tag": None}
