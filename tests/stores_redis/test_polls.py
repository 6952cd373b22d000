"""Polls of Redis: rare, in the background, and no caller with a usable token waits for one."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from evertoken import MemoryStore, RefreshPolicy, TokenKey, TokenManager
from evertoken.engine.store_watcher import POLL_WAIT, StoreWatcher
from evertoken.runtime import clock, pool, process, threads, waiters
from evertoken.stores.redis import RedisStore
from support.fleet import BOUND, CountingGrant, eventually
from support.slow_store import SlowStore

if TYPE_CHECKING:
    from evertoken.core.entry import Entry
    from evertoken.core.instant import Instant
    from evertoken.ports import RemoteStore
    from support.valkey import Valkey


def manager(grant: CountingGrant, store: RedisStore, **policy: float) -> TokenManager:
    """A manager as in another process."""
    return TokenManager(grant, store=store, memory=MemoryStore(), policy=RefreshPolicy(**policy))


class Poller:
    """Polls a store and records the results."""

    def __init__(self, store: SlowStore) -> None:
        self.watcher = StoreWatcher(store)
        self.found: list[Entry | None] = []

    def poll(self, now: Instant | None = None, *, urgent: bool = False) -> float:
        """Poll, and return the seconds that the call waited."""
        started = time.monotonic()
        key = TokenKey("https://tokens.example/", "client")
        waiters.run(self.watcher.poll(key, now or clock.now(), self._merge, urgent=urgent))
        return time.monotonic() - started

    def _merge(self, store: RemoteStore, entry: Entry | None, now: Instant) -> None:
        assert isinstance(store, SlowStore)
        assert now.boot <= clock.since_boot()
        self.found.append(entry)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def poller(store: SlowStore) -> Poller:
    return Poller(store)


def test_an_answer_in_time_is_merged_at_once(poller: Poller, store: SlowStore) -> None:
    store.gate.set()
    poller.poll()
    assert len(poller.found) == 1


def test_a_late_answer_is_merged_when_it_arrives(poller: Poller, store: SlowStore) -> None:
    assert POLL_WAIT * 0.9 <= poller.poll() < 0.25
    assert poller.found == []
    store.gate.set()
    eventually(lambda: len(poller.found) == 1)


def test_polls_are_rare_and_one_at_a_time(poller: Poller, store: SlowStore) -> None:
    now = clock.now()
    poller.poll(now)
    poller.poll(now.after(SlowStore.recheck + 1))
    assert store.loads == 1, "the first one is still under way"
    store.gate.set()
    eventually(lambda: poller.found)
    poller.poll(now.after(SlowStore.recheck - 1))
    assert store.loads == 1
    # a little later, since the sum of two floats may be a little less
    due = now.after(SlowStore.recheck + 0.1)
    eventually(lambda: poller.poll(due) and store.loads == 2)


def test_an_urgent_poll_joins_a_running_one(poller: Poller, store: SlowStore) -> None:
    poller.poll()
    threading.Timer(0.1, store.gate.set).start()
    poller.poll(urgent=True)
    assert (store.loads, len(poller.found)) == (1, 1)
    poller.poll(urgent=True)
    assert (store.loads, len(poller.found)) == (2, 2)


def test_without_threads_a_caller_polls_the_store_in_its_own_thread(  # F33
    poller: Poller, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "can_run", lambda: False)
    store.gate.set()
    poller.poll()
    assert (store.loads, len(poller.found)) == (1, 1)


def test_a_poll_whose_submission_was_interrupted_is_submitted_by_the_next(  # F32
    poller: Poller, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise InterruptedError

    store.gate.set()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "submit", interrupted)
        with pytest.raises(InterruptedError):
            poller.poll()
    poller.poll(now=clock.now().after(SlowStore.recheck))
    assert (store.loads, len(poller.found)) == (1, 1)


def test_a_forked_child_makes_its_own_polls(poller: Poller, store: SlowStore) -> None:
    poller.poll()
    process._forked()
    poller.poll(now=clock.now().after(SlowStore.recheck))
    assert store.loads == 2
    store.gate.set()
    eventually(lambda: len(poller.found) == 2)


@pytest.mark.slow
def test_an_outage_of_seconds_fails_no_call_and_stalls_none(valkey: Valkey) -> None:  # F27
    grant = CountingGrant(lifetime=4.0)
    fleet = manager(grant, RedisStore(valkey.url, recheck=0.5))
    fleet.token()
    failures: list[BaseException] = []
    slowest: list[float] = []
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.002):
            started = time.monotonic()
            try:
                fleet.token()
            except Exception as error:  # noqa: BLE001  it is the result
                failures.append(error)
            slowest.append(time.monotonic() - started)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    with valkey.frozen():
        over.wait(6.5)  # longer than a lifetime: each token of this time is granted separately
    over.set()
    for thread in threads:
        thread.join(BOUND)
    assert failures == []
    assert grant.requests >= 2
    # a call waits 20 ms for a hanging poll; Redis's own timeout would be 400 ms
    assert max(slowest) < 0.25


def test_a_revoked_token_is_dropped_at_the_next_poll(valkey: Valkey) -> None:  # S41
    grant = CountingGrant()
    one = manager(grant, RedisStore(valkey.url))
    other = manager(grant, RedisStore(valkey.url, recheck=0.5))
    token = one.token()
    assert other.token().value == token.value
    one.invalidate(token)
    eventually(lambda: other.token().value != token.value, within=5)


def test_a_fresh_token_costs_one_read_per_recheck(valkey: Valkey) -> None:
    grant = CountingGrant()
    fleet = manager(grant, RedisStore(valkey.url, recheck=60), recheck=0.01)
    fleet.token()
    fleet.token()
    eventually(lambda: valkey.commands()["getrange"] >= 3)
    reads = valkey.commands()["getrange"]
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        fleet.token()
    assert valkey.commands()["getrange"] == reads
