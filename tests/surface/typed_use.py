"""A typed use of every public name, for type checkers; never run."""

# pyright: strict

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, assert_type

import requests

from evertoken import (
    BearerAuth,
    ClientCredentialsGrant,
    FileStore,
    FunctionGrant,
    GrantRefused,
    GrantUnavailable,
    InsecureURL,
    InvalidTokenResponse,
    MemoryStore,
    PasswordGrant,
    RefreshPolicy,
    RefreshTimeout,
    RefreshTokenGrant,
    RevocationFailed,
    Status,
    Token,
    TokenError,
    TokenKey,
    TokenManager,
    squadrun,
)
from evertoken.core.effects import Hold
from evertoken.core.entry import NOTHING, Entry, join
from evertoken.events import (
    LoginEnding,
    RejectedAgain,
    RenewalFailed,
    Replayed,
    StoreDegraded,
    StoreRecovered,
    TokenRefused,
    TokenRenewed,
    TokenRevoked,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from evertoken.events import Event
    from evertoken.ports import Grant, TokenStore


def three_lines() -> int:
    session = requests.Session()
    session.auth = squadrun.auth()
    return session.get("https://app.squadrun.co/api/v4/leads/responses/1/", timeout=30).status_code


def presets(directory: Path) -> BearerAuth:
    manager = squadrun.manager(
        client_id="id",
        client_secret=lambda: "secret",
        username="user",
        password=lambda: "password",
        base_url=squadrun.BASE_URL,
        store=FileStore(directory),
        memory=MemoryStore(),
        policy=RefreshPolicy(refresh_before=60, jitter=0),
        timeout=5,
        keep_fresh=True,
        on_event=told,
    )
    assert_type(manager, TokenManager)
    assert_type(squadrun.auth(store=FileStore(str(directory)), timeout=5), BearerAuth)
    return BearerAuth(manager, origins=[squadrun.BASE_URL], retry_statuses=squadrun.RETRY_STATUSES)


def other_grants(directory: Path) -> list[Grant]:
    url = "https://auth.example/oauth/token/"
    service = ClientCredentialsGrant(
        url, client_id="id", client_assertion=directory / "token", scope="read", timeout=5
    )
    refreshing = RefreshTokenGrant(
        url,
        account="ann",
        client_id="id",
        refresh_token=lambda: "first",
        fallback=service,
        extra={"resource": "https://api.example"},
    )
    pair = FunctionGrant(lambda: ("token", 60), name="api", credentials=lambda: "pin")
    whole = FunctionGrant(lambda: Token("token", issued_at=0.0, expires_at=60.0), name="api")
    answer = FunctionGrant(lambda: requests.get(url, timeout=5), name="api", deadline=5)
    return [service, refreshing, pair, whole, answer]


def by_hand() -> None:
    grant = PasswordGrant(
        "https://auth.example/oauth/token/",
        client_id="id",
        client_secret=None,
        username=lambda: "user",
        password=lambda: "password",
        scope="read write",
        revoke_url="https://auth.example/oauth/revoke_token/",
        client_auth="basic",
        timeout=5,
        deadline=20,
        default_lifetime=60,
        verify="/etc/ssl/ca.pem",
        cert=("client.pem", "client.key"),
        proxies={"https": "http://proxy.example:3128"},
        allow_http=False,
    )
    assert_type(grant.key, TokenKey)
    unusual = PasswordGrant(
        "https://auth.example/oauth/token/",
        username="user",
        password="password",
        extra={"audience": "https://api.example", "otp": lambda: "123456"},
        headers={"X-Tenant": "acme"},
        client_auth="basic-raw",
        lifetime=3600,
        max_lifetime=600.0,
        verify=ssl.create_default_context(),
    )
    assert_type(unusual.key.client_id, str | None)
    squadrun.auth(grant="refresh", store=MemoryStore())
    squadrun.auth(transport=requests.Session, verify=False, cert="client.pem", deadline=5)
    with TokenManager(grant, store=None, memory=MemoryStore(maxsize=8), timeout=5) as manager:
        assert_type(manager, TokenManager)
        auth = BearerAuth(
            manager, origins={"https://api.example"}, retry_statuses=(), allow_http=True
        )
        assert_type(auth.manager, TokenManager)
        token = manager.token(timeout=1.5)
        assert_type(token, Token)
        assert_type(token.value, str)
        assert_type(token.issued_at, float)
        assert_type(token.expires_at, float)
        assert_type(token.scope, str | None)
        assert_type(token.refresh_token, str | None)
        assert_type(manager.refresh(timeout=None), Token)
        manager.invalidate(token)
        manager.revoke()


def health(manager: TokenManager) -> dict[str, object]:
    status = manager.status()
    assert_type(status, Status)
    assert_type(status.state, str)
    assert_type(status.seconds_left, float)
    assert_type(status.expires_at, float | None)
    assert_type(status.last_error, TokenError | None)
    assert_type(status.counters.grants, int)
    return {"state": status.state, "renewing": status.renewing, "retry_at": status.retry_at}


def handled(manager: TokenManager) -> str:
    try:
        manager.token()
    except GrantRefused as error:
        assert_type(error.status, int | None)
        assert_type(error.error, str | None)
        assert_type(error.description, str | None)
        assert_type(error.content_type, str | None)
        return f"refused: {error.error}"
    except (GrantUnavailable, InvalidTokenResponse, RevocationFailed) as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.transient, bool)
        return "later"
    except TimeoutError as error:
        return "in time" if isinstance(error, RefreshTimeout) else "late"
    except ValueError as error:
        return "insecure" if isinstance(error, InsecureURL) else "wrong"
    except TokenError as error:
        return f"of a grant of one's own: {error.status}"
    return "well"


def called(auth: BearerAuth) -> str:
    try:
        requests.get("https://api.example/", auth=auth, timeout=5)
    except GrantRefused as error:
        return f"refused: {error.error}"
    except requests.RequestException as error:
        return "of theirs" if not isinstance(error, TokenError) else f"of ours: {error.status}"
    return "well"


def told(event: Event) -> None:
    match event:
        case TokenRenewed(source=source, seconds=seconds, lifetime=lifetime):
            assert_type((source, seconds, lifetime), tuple[str, float, float])
        case RenewalFailed(error=error, next_try=when) | TokenRefused(error=error, until=when):
            assert_type((error, when), tuple[TokenError, float])
        case TokenRevoked(confirmed=confirmed):
            assert_type(confirmed, bool)
        case Replayed(status=status):
            assert_type(status, int)
        case RejectedAgain(reason=reason):
            assert_type(reason, str)
        case StoreDegraded(store=store, reason=reason):
            assert_type((store, reason), tuple[str, str])
        case LoginEnding(expires_at=when):
            assert_type(when, float)
        case StoreRecovered(store=store, seconds=seconds):
            assert_type((store, seconds), tuple[str, float])


class OwnGrant:
    """A custom grant."""

    @property
    def key(self) -> TokenKey:
        return TokenKey("https://auth.example/token", "id", username=None, scope=None)

    def request(self) -> Token:
        return Token("value", issued_at=0.0, expires_at=60.0)

    def revoke(self, token: Token) -> None:
        raise RevocationFailed(f"not {token}", transient=True, retry_after=1.0)

    def credentials_tag(self, salt: bytes) -> bytes:
        return salt


class OwnStore:
    """A custom store."""

    def __init__(self) -> None:
        self._entries: dict[TokenKey, Entry] = {}

    def load(self, key: TokenKey) -> Entry | None:
        return self._entries.get(key)

    def save(self, key: TokenKey, entry: Entry) -> Entry | None:
        self._entries[key] = join(self._entries.get(key, NOTHING), entry)
        return self._entries[key]

    @contextlib.contextmanager
    def lock(self, key: TokenKey, *, timeout: float) -> Generator[Hold]:
        yield Hold.HELD if key in self._entries or timeout > 0 else Hold.BUSY


def exchanged() -> TokenManager:
    grant: Grant = OwnGrant()
    stores: list[TokenStore] = [OwnStore(), MemoryStore(), FileStore("tokens")]
    return TokenManager(grant, store=stores[0])
