"""A failure before anything was sent binds only the process that had it."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from evertoken import (
    FileStore,
    GrantRefused,
    GrantUnavailable,
    MemoryStore,
    RefreshPolicy,
    TokenError,
    TokenManager,
    squadrun,
)
from evertoken.runtime import clock
from evertoken.testing import Answer, Cut, Reset, TokenServer
from support.fleet import CountingGrant, eventually, sibling
from support.http_clients import grant_of
from support.http_proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken import PasswordGrant
    from evertoken.testing import Behaviour


def outcome(manager: TokenManager) -> str:
    """The token's value, or the kind of error."""
    try:
        return manager.token().value
    except TokenError as error:
        return type(error).__name__


def process_of(grant: PasswordGrant, folder: Path) -> TokenManager:
    return TokenManager(grant, store=FileStore(folder), memory=MemoryStore(), timeout=20)


def unset() -> str:
    raise LookupError("the vault is sealed")


def forbidden() -> str:
    raise GrantRefused("the vault says no", status=403, error="invalid_grant")


def broken() -> str:
    raise GrantUnavailable("the vault is away", transient=True)


SICK: dict[str, Callable[[TokenServer], PasswordGrant]] = {
    "a password callable that raises": lambda server: grant_of(server, password=unset),
    "a password callable that returns nothing": lambda server: grant_of(server, password=str),
    "a password callable that raises a refusal": lambda server: grant_of(
        server, password=forbidden
    ),
    "a secret callable that raises an outage": lambda server: grant_of(
        server, client_secret=broken
    ),
    "a user name that is not set": lambda server: grant_of(server, username=unset),
    "no variable": lambda server: grant_of(
        server, password=squadrun.Variable("NO_SUCH_VARIABLE", "password")
    ),
    "an undecodable password": lambda server: grant_of(server, password="\udcff"),
    "a CA bundle that is not there": lambda server: grant_of(server, verify="/no/such.pem"),
    "an outdated CA bundle": lambda server: grant_of(server, verify=True),
    "a proxy that is not there": lambda server: grant_of(
        server, proxies={"https": "http://127.0.0.1:9"}
    ),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    """The server's CA, and the bundle that trusts it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path_factory.mktemp("authority") / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    return context, str(bundle)


@pytest.fixture
def server(authority: tuple[ssl.SSLContext, str]) -> Iterator[TokenServer]:
    with TokenServer(ssl_context=authority[0]) as server:
        yield server


@pytest.mark.parametrize("illness", SICK)
def test_a_process_that_cannot_send_requests_does_not_stop_its_siblings(  # S53
    server: TokenServer, authority: tuple[ssl.SSLContext, str], tmp_path: Path, illness: str
) -> None:
    sick = process_of(SICK[illness](server), tmp_path)
    for _ in range(3):
        assert outcome(sick).startswith(("ConfigurationError", "Grant"))
    assert server.token_requests == 0

    healthy = process_of(grant_of(server, verify=authority[1]), tmp_path)

    assert not outcome(healthy).startswith("Grant")
    assert server.token_requests == 1


def test_a_refusal_raised_by_a_callable_does_not_count_as_the_servers(  # S53
    server: TokenServer, tmp_path: Path
) -> None:
    manager = process_of(grant_of(server, password=forbidden), tmp_path)

    assert outcome(manager) == "GrantRefused"

    status = manager.status()
    assert status.state == "cooling"
    assert status.last_error is not None
    assert status.last_error.local
    assert status.retry_at is not None
    assert status.retry_at - clock.now().wall <= 60


def test_a_proxy_that_requires_a_login_does_not_stop_siblings(  # S53
    server: TokenServer, authority: tuple[ssl.SSLContext, str], tmp_path: Path
) -> None:
    with Proxy(status=407) as proxy:
        sick = process_of(grant_of(server, proxies={"https": proxy.url}), tmp_path)
        assert outcome(sick) == "GrantUnavailable"

    healthy = process_of(grant_of(server, verify=authority[1]), tmp_path)

    assert not outcome(healthy).startswith("Grant")


def test_a_refused_connection_leaves_nothing_in_the_store(tmp_path: Path) -> None:  # S53
    with TokenServer() as gone:
        pass
    sick = process_of(grant_of(gone), tmp_path)

    assert outcome(sick) == "GrantUnavailable"

    assert FileStore(tmp_path).load(sick.grant.key) is None


@pytest.mark.parametrize(
    "trouble",
    [Answer(503), Answer(404), Cut("body"), Reset(), Answer(200, body=b"<html>")],
    ids=repr,
)
def test_a_failure_of_the_endpoint_is_shared(  # S53, F20
    token_server: TokenServer, tmp_path: Path, trouble: Behaviour
) -> None:
    token_server.token_endpoint.answer_always(trouble)
    first = process_of(grant_of(token_server), tmp_path)
    outcome(first)
    posts = token_server.token_requests

    second = process_of(grant_of(token_server), tmp_path)

    assert outcome(second) in {"GrantUnavailable", "InvalidTokenResponse"}
    assert token_server.token_requests == posts


def test_a_process_with_a_local_failure_backs_off_and_recovers() -> None:  # S53
    grant = CountingGrant()
    grant.failure = GrantUnavailable("could not read the password", transient=True, local=True)
    manager = sibling(grant, policy=RefreshPolicy(retry_after=0.3, jitter=0.0))
    for _ in range(5):
        assert outcome(manager) == "GrantUnavailable"
    # a cold start tries three times, then the back-off applies
    assert grant.requests == 3

    grant.failure = None

    eventually(lambda: outcome(manager) != "GrantUnavailable")


def test_a_process_with_a_local_failure_adopts_a_siblings_token(
    token_server: TokenServer, tmp_path: Path
) -> None:
    policy = RefreshPolicy(recheck=0.05)
    sick = TokenManager(
        grant_of(token_server, password=unset),
        store=FileStore(tmp_path),
        memory=MemoryStore(),
        policy=policy,
    )
    assert outcome(sick) == "GrantUnavailable"

    token = process_of(grant_of(token_server), tmp_path).token()

    eventually(lambda: outcome(sick) == token.value)


def test_a_foreign_exception_of_a_grant_binds_only_its_process(  # S53
    tmp_path: Path,
) -> None:
    class Buggy(CountingGrant):
        def request(self) -> None:  # type: ignore[override]  # as a bug has it
            raise KeyError("a bug on this machine")

    buggy = Buggy()
    assert outcome(sibling(buggy, tmp_path)) == "GrantUnavailable"
    healthy = CountingGrant(key=buggy.key)

    assert outcome(sibling(healthy, tmp_path)).startswith("token-1")


def test_a_missing_variable_does_not_stop_siblings(
    token_server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # S53
    for name in ("client_id", "client_secret", "username", "password", "base_url"):
        monkeypatch.setenv(f"SQUADRUN_{name.upper()}", getattr(token_server, name))
    password = os.environ.pop("SQUADRUN_PASSWORD")
    sick = squadrun.manager(store=FileStore(tmp_path), memory=MemoryStore())
    assert outcome(sick) == "ConfigurationError"
    monkeypatch.setenv("SQUADRUN_PASSWORD", password)

    healthy = squadrun.manager(store=FileStore(tmp_path), memory=MemoryStore())

    assert outcome(healthy) not in {"ConfigurationError", "GrantUnavailable"}
    assert token_server.token_requests == 1
