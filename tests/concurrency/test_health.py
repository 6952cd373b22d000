"""A store that fails is reported once, and so is its recovery; requests notice neither."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, MemoryStore, TokenManager
from evertoken.engine.health import Health
from evertoken.events import Event, StoreDegraded, StoreRecovered
from evertoken.runtime import reports
from evertoken.stores.redis import RedisStore
from support.fleet import CountingGrant, eventually, sibling
from support.fleet_faults import Fault, injected
from support.valkey import PASSWORD, Valkey

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken import TokenKey

WAIT = 30.0


class Told:
    """A listener that records events about stores."""

    def __init__(self) -> None:
        self.events: list[StoreDegraded | StoreRecovered] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, StoreDegraded | StoreRecovered):
            self.events.append(event)

    def has(self, name: str, times: int) -> bool:
        return self.names.count(name) == times

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@pytest.fixture
def grant() -> CountingGrant:
    return CountingGrant()


def test_events_report_a_file_store_that_fails_and_recovers(
    grant: CountingGrant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="evertoken")
    told = Told()
    obstacle = FileStore(tmp_path).path(grant.key)
    obstacle.mkdir()
    manager = sibling(grant, tmp_path, on_event=told)
    manager.token()
    manager.refresh()
    eventually(lambda: told.events)

    [degraded] = told.events
    assert isinstance(degraded, StoreDegraded)
    assert degraded.store == "file"
    assert str(obstacle) in degraded.reason

    obstacle.rmdir()
    manager.refresh()
    eventually(lambda: told.names == ["StoreDegraded", "StoreRecovered"])
    assert told.events[1].store == "file"
    notices = [r for r in caplog.records if r.getMessage().endswith("are used again")]
    assert [record.levelname for record in notices] == ["INFO"]


def test_a_disk_that_fails_again_is_reported_again(
    grant: CountingGrant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    manager = sibling(grant, tmp_path, on_event=told)
    for times in (1, 2):
        with injected(Fault("fsync", tmp_path, sticky=True)):
            manager.refresh()
            eventually(partial(told.has, "StoreDegraded", times))
        manager.refresh()
        eventually(partial(told.has, "StoreRecovered", times))
    assert told.names == ["StoreDegraded", "StoreRecovered"] * 2
    assert [record.levelname for record in caplog.records].count("WARNING") == 2


def test_the_listener_of_each_manager_of_a_store_gets_the_event(
    grant: CountingGrant, tmp_path: Path
) -> None:
    store = FileStore(tmp_path)
    listeners = [Told(), Told()]
    managers = [
        TokenManager(grant, store=store, memory=MemoryStore(), on_event=told) for told in listeners
    ]
    store.path(grant.key).mkdir()
    for manager in managers:
        manager.token()
    eventually(lambda: all(told.names == ["StoreDegraded"] for told in listeners))


def test_the_trouble_of_one_identity_is_not_that_of_another(
    grant: CountingGrant, tmp_path: Path
) -> None:
    store, other = FileStore(tmp_path), CountingGrant()
    store.path(grant.key).mkdir()
    sibling(grant, tmp_path).token()
    assert store.load(grant.key) is None
    assert store.trouble(grant.key) is not None
    assert store.trouble(other.key) is None


class Ailing(MemoryStore):
    """A store whose trouble is set by a test, and whose check can be blocked.

    Attributes:
        reason: its trouble.
        looked: set once the blocked check has read it.
        go_on: lets that check return.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reason: str | None = None
        self.slow: threading.Thread | None = None
        self.looked, self.go_on = threading.Event(), threading.Event()

    def trouble(self, _key: TokenKey) -> str | None:
        reason = self.reason
        if threading.current_thread() is self.slow:
            self.slow = None
            self.looked.set()
            assert self.go_on.wait(WAIT)
        return reason


def test_an_outdated_finding_about_a_store_is_not_reported_after_a_newer_one(
    grant: CountingGrant,
) -> None:
    told, store = Told(), Ailing()
    health = Health([store], told)
    store.reason = "it is down"
    late = store.slow = threading.Thread(target=health.report, args=(grant.key,))
    late.start()
    assert store.looked.wait(WAIT)
    health.report(grant.key)
    eventually(lambda: told.names == ["StoreDegraded"])
    store.reason = None
    health.report(grant.key)
    eventually(lambda: told.names == ["StoreDegraded", "StoreRecovered"])
    store.go_on.set()
    late.join(WAIT)
    reports.catch_up(WAIT)

    assert told.names == ["StoreDegraded", "StoreRecovered"]


def test_events_report_redis_when_it_is_down_and_when_it_is_back(grant: CountingGrant) -> None:
    told = Told()

    def is_back() -> bool:
        manager.refresh()
        return told.has("StoreRecovered", 1)

    with Valkey() as valkey:
        store = RedisStore(valkey.url, timeout=0.1)
        manager = TokenManager(grant, store=store, memory=MemoryStore(), on_event=told)
        manager.token()
        with valkey.frozen():
            manager.refresh()
            eventually(lambda: told.names == ["StoreDegraded"])
        eventually(is_back)
    assert told.names == ["StoreDegraded", "StoreRecovered"]
    assert {event.store for event in told.events} == {"redis"}
    assert PASSWORD not in str(told.events)
