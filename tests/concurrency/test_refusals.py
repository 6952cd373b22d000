"""The fleet posts refused credentials once per cool-down, and changed credentials at once."""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from evertoken import (
    FileStore,
    GrantRefused,
    MemoryStore,
    PasswordGrant,
    RefreshPolicy,
    Token,
    TokenManager,
)
from evertoken.core.entry import Entry
from evertoken.runtime import clock
from evertoken.testing import TokenServer
from support.fleet import HOUR, CountingGrant, eventually, saved_refusal, sibling
from support.fleet_worker import Settings, run_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFUSED = GrantRefused("refused: invalid_grant", status=400, error="invalid_grant")
RECHECK = 0.05


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def grant() -> CountingGrant:
    grant = CountingGrant()
    grant.failure = REFUSED
    return grant


def cooling(seconds: float = 300.0) -> RefreshPolicy:
    return RefreshPolicy(
        recheck=RECHECK, refusal_cooldown=seconds, refusal_cooldown_max=4 * seconds
    )


def refused(manager: TokenManager) -> GrantRefused:
    with pytest.raises(GrantRefused) as caught:
        manager.token()
    return caught.value


def refused_for(manager: TokenManager, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        refused(manager)


@pytest.mark.slow
def test_fifty_workers_with_a_wrong_password_warn_once_each_and_show_no_traceback(  # S48, S64
    server: TokenServer, tmp_path: Path
) -> None:
    # a busy machine takes a while for fifty, and half of it is the lock timeout
    settings = Settings.of(
        server, passwords=["wrong"], directory=str(tmp_path), threads=3, timeout=100.0
    )
    reports = run_fleet("call", 50, settings, within=110.0)

    assert [report["raised"] for report in reports] == [["GrantRefused"]] * 50
    assert [report["tracebacks"] for report in reports] == [0] * 50
    for report in reports:
        [warning] = cast("list[str]", report["warnings"])
        assert f"{server.username} at {server.token_url}: " in warning
    assert server.token_requests == 1


def test_a_refusal_survives_a_restart(grant: CountingGrant, tmp_path: Path) -> None:  # S48
    refused(sibling(grant, tmp_path))
    error = refused(sibling(grant, tmp_path))
    assert (error.status, error.error) == (400, "invalid_grant")
    assert f"{grant.key.client_id} at {grant.key.token_url}: {REFUSED} (remembered" in str(error)
    assert grant.requests == 1


def test_a_refusal_is_shared_although_a_token_of_other_credentials_is_still_valid(  # S48
    grant: CountingGrant, tmp_path: Path
) -> None:
    now = clock.now()
    # within its margin: no longer sent, but still kept in the stores
    token = Token("late", now.wall - HOUR + 5, now.wall + 5, issued_boot=now.boot - HOUR + 5)
    FileStore(tmp_path).save(grant.key, Entry.of_token(token))
    refused(sibling(grant, tmp_path))
    refused(sibling(grant, tmp_path))
    assert grant.requests == 1


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_within_the_cool_down_no_request_is_sent_however_often_a_caller_tries(  # S48
    grant: CountingGrant, tmp_path: Path, *, shared: bool
) -> None:
    manager = sibling(grant, tmp_path if shared else None, policy=cooling())
    refused_for(manager, 6 * RECHECK)
    assert grant.requests == 1


def test_after_the_cool_down_one_request_is_sent_and_the_next_cool_down_doubles(
    grant: CountingGrant, tmp_path: Path
) -> None:
    manager = sibling(grant, tmp_path, policy=cooling(1.0))
    started = time.monotonic()
    refused_for(manager, 1.5)
    eventually(lambda: (refused(manager), grant.requests == 3)[1])
    assert time.monotonic() - started >= 3.0


def test_the_cool_down_doubles_across_restarts(grant: CountingGrant, tmp_path: Path) -> None:
    refused(sibling(grant, tmp_path, policy=cooling(0.0)))
    later = sibling(grant, tmp_path, policy=cooling(100.0))
    refused(later)
    assert grant.requests == 2
    retry_at = later.status().retry_at
    assert retry_at is not None
    assert 190.0 < retry_at - time.time() < 201.0


def test_changed_credentials_are_posted_at_once_in_every_process(  # F25
    grant: CountingGrant, tmp_path: Path
) -> None:
    managers = [sibling(grant, tmp_path, policy=cooling()) for _ in range(3)]
    for manager in managers:
        refused(manager)
    grant.failure = None
    grant.credentials = "rotated"
    for manager in managers:
        eventually(partial(_has, manager), within=5.0)
    assert grant.requests == 2


def _has(manager: TokenManager) -> bool:
    try:
        manager.token()
    except GrantRefused:
        return False
    return True


def test_another_wrong_password_begins_its_own_cool_down(
    grant: CountingGrant, tmp_path: Path
) -> None:
    manager = sibling(grant, tmp_path, policy=cooling())
    refused(manager)
    grant.credentials = "rotated, wrongly"
    eventually(lambda: (refused(manager), grant.requests == 2)[1], within=5.0)
    refused_for(manager, 6 * RECHECK)
    assert grant.requests == 2
    retry_at = manager.status().retry_at
    assert retry_at is not None
    assert retry_at - time.time() < 301.0


def test_corrected_credentials_of_a_real_grant_work_at_once(  # S48, F25
    server: TokenServer, tmp_path: Path
) -> None:
    passwords = ["wrong"]
    grant = PasswordGrant(
        server.token_url,
        client_id=server.client_id,
        client_secret=server.client_secret,
        username=server.username,
        password=lambda: passwords[0],
    )
    manager = TokenManager(grant, store=FileStore(tmp_path), memory=MemoryStore(), policy=cooling())
    refused_for(manager, 6 * RECHECK)
    assert server.token_requests == 1
    passwords[0] = server.password
    eventually(lambda: _has(manager), within=5.0)
    assert server.token_requests == 2


def test_two_different_wrong_passwords_do_not_take_turns(  # S48
    grant: CountingGrant, tmp_path: Path
) -> None:
    other = CountingGrant(key=grant.key)
    other.failure = REFUSED
    other.credentials = "wrong in another way"
    one = sibling(grant, tmp_path, policy=cooling())
    two = sibling(other, tmp_path, policy=cooling())
    end = time.monotonic() + 10 * RECHECK
    while time.monotonic() < end:
        refused(one)
        refused(two)
    assert (grant.requests, other.requests) == (1, 1)


@pytest.mark.slow
def test_two_processes_with_different_wrong_passwords_cost_a_grant_each(
    server: TokenServer, tmp_path: Path
) -> None:
    settings = Settings.of(
        server, passwords=["wrong", "worse"], directory=str(tmp_path), seconds=3.0
    )
    run_fleet("insist", 2, settings)
    assert server.token_requests == 2


def test_a_wrong_password_does_not_end_the_token_of_the_right_one(
    grant: CountingGrant, tmp_path: Path
) -> None:
    right = CountingGrant(key=grant.key)
    right.credentials = "right"
    good = sibling(right, tmp_path, policy=cooling())
    token = good.token()
    bad = sibling(grant, tmp_path, policy=cooling())
    assert bad.token() == token
    with pytest.raises(GrantRefused):
        bad.refresh()
    assert good.token() == token
    eventually(lambda: good.token() == token, within=5.0)
    assert sibling(right, tmp_path).token() == token


def test_refresh_sends_a_request_despite_the_cool_down(
    grant: CountingGrant, tmp_path: Path
) -> None:
    manager = sibling(grant, tmp_path, policy=cooling())
    refused(manager)
    with pytest.raises(GrantRefused):
        manager.refresh()
    assert grant.requests == 2
    grant.failure = None
    assert manager.refresh() == manager.token()


def test_status_reports_the_refusal_and_its_end(grant: CountingGrant, tmp_path: Path) -> None:
    manager = sibling(grant, tmp_path)
    before = time.time()
    refused(manager)
    status = manager.status()
    assert status.state == "refused"
    assert status.retry_at is not None
    assert before + 300.0 <= status.retry_at <= time.time() + 300.0
    assert status.last_error is not None
    assert status.last_error.error == "invalid_grant"


def test_each_caller_gets_its_own_error_object(grant: CountingGrant) -> None:
    manager = sibling(grant)
    errors = [refused(manager) for _ in range(3)]
    assert len(set(map(id, errors))) == 3
    assert all(error.__cause__ is None and error.__context__ is None for error in errors)


def test_the_file_holds_neither_the_password_nor_a_fast_hash_of_it(  # S47
    server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: list[bytes] = []
    scrypt = hashlib.scrypt

    def watched(password: bytes, *, salt: bytes, n: int, r: int, p: int) -> bytes:
        assert n * r >= 2**17, "a fast one"
        slow.append(scrypt(password, salt=salt, n=n, r=r, p=p))
        return slow[-1]

    monkeypatch.setattr(hashlib, "scrypt", watched)
    settings = Settings.of(server, passwords=["Tr0ub4dor"], directory=str(tmp_path))
    manager = settings.manager(0)
    refused(manager)
    refusal = saved_refusal(tmp_path, manager.grant.key)
    text = "".join(path.read_text() for path in tmp_path.glob("*.json"))
    assert refusal.credentials_hash in slow
    digests = [hashlib.new(name, b"Tr0ub4dor").hexdigest() for name in ("md5", "sha1", "sha256")]
    for secret in ["Tr0ub4dor", server.client_secret, *digests]:
        assert secret not in text
