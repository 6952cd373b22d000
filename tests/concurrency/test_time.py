"""Clocks that are set, that stand still, or that differ from the server's."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests
from freezegun import freeze_time

from evertoken import BearerAuth, FileStore, RefreshPolicy, Token
from evertoken.core.entry import Entry
from evertoken.runtime import clock
from evertoken.testing import TokenServer
from support.clocks import Clocks
from support.fleet import CountingGrant, eventually, sibling
from support.fleet_worker import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evertoken import TokenManager

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
def grant() -> CountingGrant:
    return CountingGrant(lifetime=10 * HOUR)


@pytest.fixture(params=[False, True], ids=["memory", "file"])
def manager(
    request: pytest.FixtureRequest, grant: CountingGrant, tmp_path: Path, clocks: Clocks
) -> TokenManager:
    del clocks
    return sibling(grant, tmp_path if request.param else None)


@pytest.mark.parametrize("step", [-DAY, -HOUR, -61.0, 61.0, HOUR, DAY, 40 * 365 * DAY])
def test_setting_the_wall_clock_costs_at_most_one_grant(  # F16
    grant: CountingGrant, manager: TokenManager, clocks: Clocks, step: float
) -> None:
    manager.token()
    clocks.wall_offset += step
    token = manager.token()
    assert token.expires_at > time.time()
    eventually(lambda: not manager.status().renewing)
    for _ in range(3):
        assert manager.token().expires_at > time.time()
    assert grant.requests <= 2


def test_a_clock_set_back_does_not_prolong_a_token(  # F16
    grant: CountingGrant, manager: TokenManager, clocks: Clocks
) -> None:
    first = manager.token()
    clocks.wall_offset -= DAY
    clocks.boot_offset += 10 * HOUR
    assert manager.token() != first
    assert grant.requests == 2


def test_a_suspend_of_eight_hours_is_noticed(  # F16
    grant: CountingGrant, manager: TokenManager, clocks: Clocks
) -> None:
    grant.lifetime = 7 * HOUR
    first = manager.token()
    clocks.pass_by(8 * HOUR)
    assert manager.token() != first


def test_a_restored_machine_is_noticed_although_its_clock_since_boot_stood_still(  # F16
    grant: CountingGrant, manager: TokenManager, clocks: Clocks
) -> None:
    first = manager.token()
    clocks.wall_offset += 11 * HOUR
    assert manager.token() != first
    assert grant.requests == 2


def test_a_token_survives_a_reboot_in_its_file(  # F16
    grant: CountingGrant, tmp_path: Path, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sibling(grant, tmp_path).token()
    clocks.boot_offset -= 100 * HOUR
    monkeypatch.setattr(clock, "boot_id", lambda: "another boot")
    again = sibling(grant, tmp_path)
    assert again.token() == first
    # from here on the new boot's clock limits it, even if the wall clock is set back
    clocks.boot_offset += 10 * HOUR
    clocks.wall_offset -= DAY
    assert again.token() != first


def test_everything_works_after_2038(
    grant: CountingGrant, tmp_path: Path, clocks: Clocks
) -> None:  # F16
    clocks.wall_offset = 2**31 + DAY - time.time()
    manager = sibling(grant, tmp_path)
    token = manager.token()
    assert token.issued_at > 2**31
    assert sibling(grant, tmp_path).token() == token
    clocks.pass_by(10 * HOUR)
    assert manager.token() != token


@pytest.mark.parametrize("offset", [-DAY, DAY])
def test_a_server_whose_clock_is_a_day_off_does_not_matter(  # F16
    tmp_path: Path, offset: float
) -> None:
    with TokenServer(clock=lambda: time.time() + offset) as server:
        manager = Settings.of(server, directory=str(tmp_path)).manager(0)
        session = requests.Session()
        session.auth = BearerAuth(manager)
        assert {session.get(server.api_url, timeout=10).status_code for _ in range(3)} == {200}
        assert server.token_requests == 1


@pytest.mark.parametrize("lifetime", [0.5, 1.0, 5.0, 20.0, 40.0])
def test_a_lifetime_shorter_than_every_margin_costs_one_grant(  # F28
    grant: CountingGrant, manager: TokenManager, clocks: Clocks, lifetime: float
) -> None:
    grant.lifetime = lifetime
    first = manager.token()
    for _ in range(50):
        assert manager.token() == first
    assert grant.requests == 1
    # the next token at its end, but grants are at least a second apart
    clocks.pass_by(max(lifetime, 1.0))
    assert manager.token() != first
    assert grant.requests == 2


def test_margins_shrink_with_the_lifetime(grant: CountingGrant, clocks: Clocks) -> None:  # F28
    del clocks
    grant.lifetime = 5.0
    manager = sibling(grant, policy=RefreshPolicy(refresh_before=120.0, expiry_margin=10.0))
    manager.token()
    status = manager.status()
    assert status.state == "fresh"
    assert 4.5 < status.seconds_left <= 4.75


# --- in users' tests -----------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer(expires_in=HOUR) as server:
        yield server


def test_freezegun_moves_a_token_to_its_end(server: TokenServer, tmp_path: Path) -> None:
    manager = Settings.of(server, directory=str(tmp_path)).manager(0)
    with freeze_time("2031-05-01 12:00:00", ignore=["_pytest.timing"]) as frozen:
        first = manager.token()
        assert first.issued_at == pytest.approx(time.time(), abs=5.0)
        assert first.lifetime == pytest.approx(HOUR)
        frozen.tick(HOUR / 2)
        assert manager.token() == first
        frozen.tick(HOUR)
        second = manager.token()
        assert second != first
        assert second.issued_at == pytest.approx(time.time(), abs=5.0)
    assert server.token_requests == 2


def test_freezegun_far_from_now_does_not_prevent_a_usable_token(
    server: TokenServer, tmp_path: Path
) -> None:
    for year in ("1999", "2031", "2099"):
        manager = Settings.of(server, directory=str(tmp_path / year)).manager(0)
        # each has a folder of its own, but all of them share this process's memory
        with freeze_time(f"{year}-01-01", ignore=["_pytest.timing"]):
            token = manager.token()
            assert token.expires_at == pytest.approx(time.time() + HOUR, abs=5.0)
            assert manager.token() == token
    assert server.token_requests == 3


def test_a_frozen_clock_keeps_requests_going(server: TokenServer) -> None:
    manager = Settings.of(server).manager(0)
    with freeze_time("2031-05-01", ignore=["_pytest.timing"]):
        auth = BearerAuth(manager)
        assert requests.get(server.api_url, auth=auth, timeout=10).status_code == 200


def test_a_token_is_dated_by_the_clock_reading_of_its_caller(grant: CountingGrant) -> None:
    with freeze_time("2031-05-01", ignore=["_pytest.timing"]):
        token = sibling(grant).token()
        # the renewal's thread sees the real time, so it counts from the caller's reading
        assert 0.0 <= token.issued_at - time.time() < 5.0
        assert token.lifetime == pytest.approx(grant.lifetime)


def test_setting_the_clock_while_a_caller_waits_does_not_change_the_tokens_date(
    grant: CountingGrant, clocks: Clocks
) -> None:
    manager = sibling(grant)
    before = time.time()
    memory = manager._memory
    assert memory is not None
    waiting = threading.Thread(target=manager.token)
    with memory.lock(grant.key, timeout=0.0):
        waiting.start()
        eventually(lambda: manager.status().renewing)
        clocks.wall_offset += DAY
    waiting.join(20)
    token = manager.renewer.snapshot.token
    assert token is not None
    assert token.issued_at == pytest.approx(before, abs=20.0)


def test_a_store_that_is_read_under_a_frozen_clock_does_not_trust_the_future(
    grant: CountingGrant, tmp_path: Path
) -> None:
    now = clock.now()
    token = Token("real", now.wall, now.wall + HOUR, generation=int(now.wall))
    FileStore(tmp_path).save(grant.key, Entry.of_token(token))
    with freeze_time("2019-05-01", ignore=["_pytest.timing"]):
        assert sibling(grant, tmp_path).token().value.startswith("token-1")
