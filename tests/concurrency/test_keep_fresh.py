"""`keep_fresh` renews without any request, for as long as its manager is there and open."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from functools import partial

import pytest
from evertoken.keeper import Keeper

from evertoken import GrantUnavailable, RefreshPolicy, TokenManager
from support.fleet import CountingGrant, eventually, held, in_threads, sibling


def keepers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "evertoken-keeper"}


def is_fresh(manager: TokenManager) -> bool:
    return manager.status().state == "fresh"


def test_a_kept_token_is_there_before_the_first_request_and_renewed_without_any() -> None:
    grant = CountingGrant(lifetime=1.2)
    with sibling(grant, keep_fresh=True) as manager:
        eventually(lambda: grant.requests >= 1)
        eventually(lambda: grant.requests >= 3)
        assert manager.status().counters.grants >= 2
        assert manager.token(timeout=0.5).value


def test_landings_are_told_to_a_keeper_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[bool] = []

    def start(keeper: Keeper) -> None:
        kept = keeper._kept()
        assert isinstance(kept, TokenManager)
        prepared.append(kept.renewer.on_landing == keeper.wake)

    monkeypatch.setattr(Keeper, "start", start)
    manager = sibling(CountingGrant(), keep_fresh=True)
    assert manager.keep_fresh
    assert prepared == [True]


def test_calls_at_once_after_a_fork_start_one_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Keeper] = []

    def make(kept: TokenManager) -> Keeper:
        # long enough for others to come, were they let in
        threading.Event().wait(0.05)
        made.append(Keeper(kept))
        return made[-1]

    monkeypatch.setattr("evertoken.keeper.Keeper", make)
    with sibling(CountingGrant(), keep_fresh=True) as manager:
        made.clear()
        manager.renew_in_child()
        in_threads(8, manager._keep)
        assert len(made) == 1


def test_a_kept_token_costs_one_grant_a_lifetime() -> None:
    grant = CountingGrant(lifetime=2.0)
    started = time.monotonic()
    with sibling(grant, keep_fresh=True):
        eventually(lambda: grant.requests == 3)
        # renewed after three quarters of its life or, with all jitter, after 1.375 s of 2
        assert time.monotonic() - started > 2.6


def test_a_failing_endpoint_is_tried_again_by_the_keeper() -> None:
    grant = CountingGrant()
    grant.failure = GrantUnavailable("503", transient=True)
    policy = RefreshPolicy(retry_after=0.1, retry_after_max=0.1)
    with sibling(grant, keep_fresh=True, policy=policy) as manager:
        eventually(lambda: grant.requests >= 4)
        grant.failure = None
        eventually(lambda: manager.status().state == "fresh")


@pytest.mark.parametrize("renewing", [False, True])
def test_closing_ends_the_keeper_at_once(*, renewing: bool) -> None:
    before = keepers()
    grant = CountingGrant()
    manager = sibling(grant)
    with held(grant):
        manager.keep_fresh = True
        manager._keep()
        eventually(lambda: grant.requests == 1)
        if not renewing:
            grant.gate.set()
            eventually(lambda: manager.status().state == "fresh")
        started = time.monotonic()
        manager.close()
        assert time.monotonic() - started < 1.0
        eventually(lambda: keepers() <= before)
    # calls still work, and start no other keeper
    assert manager.token().value
    assert keepers() <= before


def test_a_collected_manager_takes_its_keeper_along() -> None:
    before = keepers()
    grant = CountingGrant()
    manager = sibling(grant, keep_fresh=True)
    eventually(partial(is_fresh, manager))
    gone = weakref.ref(manager)
    del manager
    gc.collect()
    assert gone() is None
    eventually(lambda: keepers() <= before)


def test_a_keeper_may_be_woken_from_wherever_the_collector_runs() -> None:
    before = keepers()

    class Kept:
        def tend(self) -> float:
            return 0.0

    kept = Kept()
    keeper = Keeper(kept)
    keeper.start()
    # a queue whose put() may interrupt itself; the lock of an Event would be taken twice
    assert type(keeper._wakes).__module__ == "_queue"
    keeper.stop()
    eventually(lambda: keepers() <= before)


def test_managers_come_and_go_without_leaving_threads() -> None:
    before = threading.active_count()
    for _ in range(20):
        with sibling(CountingGrant(), keep_fresh=True) as manager:
            manager.token()
    eventually(lambda: threading.active_count() <= before)
