"""The SquadRun presets: its URLs, its behaviour, and credentials from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, TypeVar, Unpack

from evertoken import urls
from evertoken.engine.manager import TokenManager
from evertoken.errors import ConfigurationError, discreet
from evertoken.grants.password import PasswordGrant

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    import requests
    from aiohttp import ClientMiddlewareType

    from evertoken.auth import BearerAuth
    from evertoken.clients import httpx, httpx2, niquests
    from evertoken.core.policy import RefreshPolicy
    from evertoken.events import Event
    from evertoken.grants.client_auth import ClientAuth
    from evertoken.grants.credentials import Secret
    from evertoken.grants.refresh_token import RefreshTokenGrant
    from evertoken.ports import TokenStore
    from evertoken.stores.memory import MemoryStore

BASE_URL = "https://app.squadrun.co"
"""Where the API is, unless `base_url` or `SQUADRUN_BASE_URL` says otherwise."""

RETRY_STATUSES = (401, 403)
"""Answers to a dead token: SquadRun documents 403, its server's default is 401."""


_ARGUMENTS = ("client_id", "client_secret", "username", "password")

GrantName = Literal["password", "refresh"]
"""How a token is renewed: with the password, or with the refresh token that came with the last."""

T = TypeVar("T")
AuthT_co = TypeVar("AuthT_co", covariant=True)


class GrantOptions(TypedDict, total=False):
    """The options of `PasswordGrant` that pass through."""

    scope: str | None
    extra: Mapping[str, Secret] | None
    headers: Mapping[str, Secret] | None
    client_auth: ClientAuth
    deadline: float
    default_lifetime: float
    lifetime: float | None
    max_lifetime: float | None
    verify: bool | str | ssl.SSLContext
    cert: str | tuple[str, str] | None
    proxies: Mapping[str, str] | None
    transport: Callable[[], requests.Session] | None


class ManagerOptions(TypedDict, total=False):
    """The options of `TokenManager` that pass through."""

    memory: MemoryStore | None
    policy: RefreshPolicy
    timeout: float
    keep_fresh: bool
    prove_credentials: bool
    on_event: Callable[[Event], None] | None


class Options(GrantOptions, ManagerOptions, total=False):
    """Both; `timeout` is the manager's."""


class AccountOptions(Options, total=False):
    """Everything that `manager` takes; the auths pass it on."""

    client_id: Secret | None
    client_secret: Secret | None
    username: Secret | None
    password: Secret | None
    base_url: str | None
    store: TokenStore | None
    grant: GrantName


@dataclass(frozen=True, slots=True)
class Variable:
    """A credential that is read from the environment at each grant.

    Attributes:
        name: of the variable.
        argument: the one that it stands in for.
        together: the arguments of all credentials that are read from the environment with it.
    """

    name: str
    argument: str
    together: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __call__(self) -> str:
        """Its value now.

        Raises:
            ConfigurationError: it is not set, or empty; names the others of which that is true.
        """
        if value := os.environ.get(self.name):
            return value
        others = (name for name in self.together if not os.environ.get(_variable(name)))
        missing = {**{name: _variable(name) for name in others}, self.argument: self.name}
        raise ConfigurationError(
            f"no {', '.join(missing)}: set {', '.join(missing.values())}, or give the "
            f"argument{'s' if len(missing) > 1 else ''}",
            transient=True,
            local=True,
        )


@discreet
def manager(
    *,
    client_id: Secret | None = None,
    client_secret: Secret | None = None,
    username: Secret | None = None,
    password: Secret | None = None,
    base_url: str | None = None,
    store: TokenStore | None = None,
    grant: GrantName = "password",
    **options: Unpack[Options],
) -> TokenManager:
    """A manager for the SquadRun API.

    What is not given comes from the environment: `SQUADRUN_CLIENT_ID`, `SQUADRUN_CLIENT_SECRET`,
    `SQUADRUN_USERNAME` and `SQUADRUN_PASSWORD` at each grant; `SQUADRUN_BASE_URL` (else
    `https://app.squadrun.co`) and `SQUADRUN_TOKEN_DIR` (a `FileStore` there) now. Credentials that
    are missing are a `ConfigurationError` of the first grant, which names them all: until then the
    environment may still be loaded.

    `grant="refresh"` renews with the refresh token, and posts the password only for the first login
    and if that ends. It needs a store. The default posts the password at each renewal: a refresh at
    SquadRun ends the token that other processes hold at once, so that each of them sees a 401.

    `options` are those of `TokenManager` (`timeout`, `keep_fresh` …) and of `PasswordGrant`
    (`deadline`, `verify`, `cert`, `proxies`, `extra`, `headers`, `transport` …).

    Raises:
        InsecureURL: the base URL is not https.
        ConfigurationError: an id, a user name or a password is given but empty, or
            `grant="refresh"` has no store.
        ValueError: an option has a value that it cannot have.
        TypeError: there is no such option.
    """
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"there is no option {' and no option '.join(sorted(unknown))}")
    base = _base(base_url)
    credentials = client_id, client_secret, username, password
    missing = tuple(name for name, it in zip(_ARGUMENTS, credentials, strict=True) if it is None)
    client = _or_variable(client_id, "client_id", missing)
    secret = _or_variable(client_secret, "client_secret", missing)
    user = _or_variable(username, "username", missing)
    passing = _of(GrantOptions, options)
    if grant not in ("password", "refresh"):
        raise ValueError(f'grant must be "password" or "refresh", not {grant!r}')
    by_password = PasswordGrant(
        f"{base}/oauth/token/",
        client_id=client,
        client_secret=secret,
        username=user,
        password=_or_variable(password, "password", missing),
        revoke_url=f"{base}/oauth/revoke_token/",
        **passing,
    )
    refreshing = grant == "refresh"
    made = _refreshing(by_password, client, secret, user, passing) if refreshing else by_password
    # not `store or …`: one that counts its entries is false while it has none
    shared = _shared_directory() if store is None else store
    return TokenManager(made, store=shared, **_of(ManagerOptions, options))


@discreet
def auth(**options: Unpack[AccountOptions]) -> BearerAuth:
    """`auth=` for the SquadRun API; takes what `manager` takes.

    A 401 and a 403 both mean a dead token here, and the token goes to the base URL's origin alone.
    """
    from evertoken.auth import BearerAuth  # noqa: PLC0415  it loads requests, `manager` does not

    return _auth(BearerAuth, options)


@discreet
def httpx_auth(**options: Unpack[AccountOptions]) -> httpx.BearerAuth:
    """`auth=` of httpx clients for the SquadRun API, as `auth` (extra: `httpx`).

    Raises:
        ImportError: the extra is not installed.
    """
    from evertoken.clients.httpx import BearerAuth  # noqa: PLC0415  an extra

    return _auth(BearerAuth, options)


@discreet
def httpx2_auth(**options: Unpack[AccountOptions]) -> httpx2.BearerAuth:
    """`auth=` of httpx2 clients for the SquadRun API, as `auth` (extra: `httpx2`).

    Raises:
        ImportError: the extra is not installed.
    """
    from evertoken.clients.httpx2 import BearerAuth  # noqa: PLC0415  an extra

    return _auth(BearerAuth, options)


@discreet
def aiohttp_auth(**options: Unpack[AccountOptions]) -> ClientMiddlewareType:
    """A middleware of aiohttp sessions for the SquadRun API, as `auth` (extra: `aiohttp`).

    Raises:
        ImportError: the extra is not installed.
    """
    from evertoken.clients.aiohttp import bearer_auth  # noqa: PLC0415  an extra

    return _auth(bearer_auth, options)


@discreet
def niquests_auth(**options: Unpack[AccountOptions]) -> niquests.BearerAuth:
    """`auth=` of a `niquests.Session` for the SquadRun API, as `auth` (extra: `niquests`).

    An `AsyncSession` needs `AsyncBearerAuth(manager(…), retry_statuses=RETRY_STATUSES)`.

    Raises:
        ImportError: the extra is not installed.
    """
    from evertoken.clients.niquests import BearerAuth  # noqa: PLC0415  an extra

    return _auth(BearerAuth, options)


class _MakeAuth(Protocol[AuthT_co]):
    def __call__(self, manager: TokenManager, *, retry_statuses: tuple[int, ...]) -> AuthT_co: ...


def _auth(make: _MakeAuth[AuthT_co], options: AccountOptions) -> AuthT_co:
    return make(manager(**options), retry_statuses=RETRY_STATUSES)


def _refreshing(
    password: PasswordGrant,
    client: Secret,
    secret: Secret,
    user: Secret,
    options: GrantOptions,
) -> RefreshTokenGrant:
    from evertoken.grants.refresh_token import RefreshTokenGrant  # noqa: PLC0415  few use it

    return RefreshTokenGrant(
        password.token_url,
        account=user,
        client_id=client,
        client_secret=secret,
        revoke_url=password.revoke_url,
        fallback=password,
        **options,
    )


def _base(base_url: str | None) -> str:
    variable = os.environ.get("SQUADRUN_BASE_URL")
    base = (base_url or variable or BASE_URL).rstrip("/")
    # here, since the grant would name its token_url, which the caller never gave
    return urls.checked(base, what="base_url" if base_url else "SQUADRUN_BASE_URL")


def _of(kind: Callable[..., T], options: Options) -> T:
    """Those of `options` that are declared by the typed dictionary `kind`."""
    return kind((name, it) for name, it in options.items() if name in kind.__annotations__)


def _or_variable(given: Secret | None, argument: str, missing: tuple[str, ...]) -> Secret:
    return Variable(_variable(argument), argument, missing) if given is None else given


def _variable(argument: str) -> str:
    return f"SQUADRUN_{argument.upper()}"


def _shared_directory() -> TokenStore | None:
    directory = os.environ.get("SQUADRUN_TOKEN_DIR")
    if not directory:
        return None
    from evertoken.stores.file import FileStore  # noqa: PLC0415  most keep it in memory

    return FileStore(directory)
