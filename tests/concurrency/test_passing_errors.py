"""An error answer without a verdict is transient: a live token survives it, and no call fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from evertoken import (
    FileStore,
    GrantRefused,
    GrantUnavailable,
    MemoryStore,
    RefreshPolicy,
    Token,
    TokenManager,
)
from evertoken.core.entry import Entry
from evertoken.runtime import clock
from evertoken.testing import Answer, Endless, TokenServer
from support.fleet import HOUR, CountingGrant, eventually, sibling
from support.http_clients import grant_of

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken.testing import Behaviour

HTML = {"Content-Type": "text/html"}
PASSING: dict[str, Behaviour] = {
    "404 of an ingress": Answer(404, {"Content-Type": "text/plain"}, b"default backend - 404"),
    "403 of a firewall": Answer(403, HTML, b"<html>Request blocked</html>"),
    "403 with Retry-After": Answer(403, {"Retry-After": "1"}),
    "401 without a body": Answer(401),
    "400 temporarily_unavailable": Answer.error("temporarily_unavailable"),
    "400 server_error": Answer.error("server_error"),
    "400 slow_down": Answer.error("slow_down"),
    "405": Answer(405),
    "413": Answer(413, HTML, b"<html>too large</html>"),
    "451": Answer(451),
    "200 with a page": Answer(200, HTML, b"<html>maintenance</html>"),
    "200 without a token": Answer(200, {"Content-Type": "application/json"}, b"{}"),
    "200 with server_error": Answer.error("server_error", status=200),
    "200 of any length": Endless(),
    "302 to a page": Answer(302, {"Location": "https://status.example.com/"}),
    "503, the control": Answer(503),
}


@pytest.mark.parametrize("passing", PASSING)
def test_the_endpoint_is_asked_again_a_second_after_a_passing_error(  # S52
    token_server: TokenServer, passing: str
) -> None:
    token_server.answer_next(*[PASSING[passing]] * 3)
    manager = TokenManager(grant_of(token_server), memory=MemoryStore(), timeout=20)

    with pytest.raises(Exception, match=r".") as caught:
        manager.token()

    assert not isinstance(caught.value, GrantRefused)
    status = manager.status()
    assert status.state == "cooling"
    assert status.retry_at is not None
    assert status.retry_at - clock.now().wall <= 1.01
    token_server.recover()
    eventually(lambda: has_token(manager))


@pytest.mark.parametrize("passing", PASSING)
def test_one_passing_error_at_a_renewal_fails_no_call(  # S52
    token_server: TokenServer, tmp_path: Path, passing: str
) -> None:
    grant = grant_of(token_server)
    now = clock.now()
    # a token of ten hours that is due: it has a minute left
    late = Token(
        "late", now.wall - 10 * HOUR + 60, now.wall + 60, issued_boot=now.boot - 10 * HOUR + 60
    )
    FileStore(tmp_path).save(grant.key, Entry.of_token(late))
    token_server.answer_next(PASSING[passing])
    manager = TokenManager(
        grant,
        store=FileStore(tmp_path),
        memory=MemoryStore(),
        policy=RefreshPolicy(recheck=0.05),
    )

    assert manager.token() == late
    eventually(lambda: manager.token() != late)
    assert token_server.token_requests == 2


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "unauthorized_client"])
@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_a_verdict_on_the_credentials_still_holds_for_the_cool_down(  # S48, S52
    token_server: TokenServer, code: str, status: int
) -> None:
    token_server.refuse(code, status=status)
    manager = TokenManager(grant_of(token_server), memory=MemoryStore(), timeout=20)
    for _ in range(3):
        with pytest.raises(GrantRefused):
            manager.token()

    assert token_server.token_requests == 1
    retry_at = manager.status().retry_at
    assert retry_at is not None
    assert retry_at - clock.now().wall > 200


def test_an_answer_that_may_mean_a_wrong_password_is_not_repeated_at_once() -> None:  # S52
    grant = CountingGrant()
    grant.failure = GrantUnavailable("status 401", status=401, transient=True)

    assert not has_token(sibling(grant))

    assert grant.requests == 1


def has_token(manager: TokenManager) -> bool:
    try:
        return bool(manager.token())
    except Exception:  # noqa: BLE001  whatever the error
        return False
