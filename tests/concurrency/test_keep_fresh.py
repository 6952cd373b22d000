"""`keep_fresh` renews without requests, as long as its manager exists and is open."""

from __future__ import annotations

import gc
import math
import threading
import time
import weakref
from functools import partial

import pytest

from evertoken import GrantUnavailable, RefreshPolicy, TokenManager
from evertoken.core.instant import Instant
from evertoken.runtime import clock, pool, scheduler, threads
from support.fleet import CountingGrant, eventually, held, sibling


def threads_named(name: str) -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == name}


def is_fresh(manager: TokenManager) -> bool:
    return manager.status().state == "fresh"


def test_a_kept_token_is_there_before_the_first_request_and_renewed_without_any() -> None:
    grant = CountingGrant(lifetime=1.2)
    with sibling(grant, keep_fresh=True) as manager:
        eventually(lambda: grant.requests >= 1)
        eventually(lambda: grant.requests >= 3)
        assert manager.status().counters.grants >= 2
        assert manager.token().value


def test_a_kept_token_costs_one_grant_a_lifetime() -> None:
    grant = CountingGrant(lifetime=2.0)
    started = time.monotonic()
    with sibling(grant, keep_fresh=True):
        eventually(lambda: grant.requests == 3)
        # renewed after three quarters of its lifetime or, with full jitter, after 1.375 s of 2 s
        assert time.monotonic() - started > 2.6


def test_a_failing_endpoint_is_tried_again_without_any_request() -> None:
    grant = CountingGrant()
    grant.failure = GrantUnavailable("503", transient=True)
    policy = RefreshPolicy(retry_after=0.1, retry_after_max=0.1)
    with sibling(grant, keep_fresh=True, policy=policy) as manager:
        eventually(lambda: grant.requests >= 4)
        grant.failure = None
        eventually(lambda: manager.status().state == "fresh")


def test_a_policy_without_pauses_leaves_one_between_two_tries() -> None:
    grant = CountingGrant()
    grant.failure = GrantUnavailable("503", transient=True)
    policy = RefreshPolicy(retry_after=0, retry_after_max=0)
    with sibling(grant, keep_fresh=True, policy=policy):
        eventually(lambda: grant.requests >= 3)
        started, before = time.monotonic(), grant.requests
        eventually(lambda: grant.requests >= before + 20)
        # without a pause the 20 tries take a few milliseconds
        assert time.monotonic() - started > 0.5


@pytest.mark.parametrize("renewing", [False, True])
def test_a_closed_manager_is_no_longer_kept_fresh(*, renewing: bool) -> None:
    grant = CountingGrant(lifetime=1.0)
    manager = sibling(grant)
    with held(grant):
        manager.keep_fresh = True
        manager._keep()
        eventually(lambda: grant.requests == 1)
        if not renewing:
            grant.gate.set()
            eventually(lambda: manager.status().state == "fresh")
        manager.close()
    eventually(lambda: manager.status().state == "expired")
    assert grant.requests == 1
    # calls still work
    assert manager.token().value
    eventually(lambda: manager.status().state == "expired")
    assert grant.requests == 2


def test_a_manager_with_keep_fresh_can_be_garbage_collected() -> None:
    manager = sibling(CountingGrant(), keep_fresh=True)
    eventually(partial(is_fresh, manager))
    gone = weakref.ref(manager.renewer)
    del manager
    gc.collect()
    eventually(lambda: gone() is None)


def test_any_number_of_kept_managers_share_one_scheduler_and_one_pool() -> None:  # F42
    before = threads_named("evertoken-scheduler")
    # of pools that other tests made
    others = threads_named("evertoken-worker")
    grants = [CountingGrant() for _ in range(200)]
    managers = [sibling(grant, keep_fresh=True) for grant in grants]
    eventually(lambda: all(grant.requests == 1 for grant in grants))
    assert len(threads_named("evertoken-scheduler") - before) <= 1
    assert len(threads_named("evertoken-worker") - others) <= pool.SIZE
    for manager in managers:
        manager.close()


def test_a_scheduler_that_cannot_start_is_started_by_the_next_renewal(  # F33
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = scheduler.Scheduler()
    monkeypatch.setattr(scheduler, "_scheduler", lambda: own)
    grant = CountingGrant(lifetime=1.2)
    with monkeypatch.context() as patch:
        patch.setattr(threads, "can_run", lambda: False)
        manager = sibling(grant, keep_fresh=True)
        assert manager.token().value
        assert not own._runs
    with manager:
        manager.refresh()
        eventually(lambda: grant.requests >= 4)


class Failing:
    """A refreshable whose check fails."""

    resource = label = "a store"

    def __init__(self) -> None:
        self.looks = 0

    def refresh_if_due(self) -> float | None:
        self.looks += 1
        raise LookupError("the password is hunter2")


def test_a_failed_check_is_logged_without_its_text_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler, "PAUSE", 0.05)
    kept = Failing()
    scheduler.check_in(kept, 0.0)
    eventually(lambda: kept.looks >= 3)
    assert "LookupError" in caplog.text
    assert "hunter2" not in caplog.text


class Quick:
    """Its renewal ends, and requests the next check, before the check that started it returns."""

    resource = label = "a store"

    def __init__(self) -> None:
        self.looks = 0

    def refresh_if_due(self) -> float | None:
        self.looks += 1
        scheduler.check_in(self, 0.0)
        return math.inf


def test_a_renewal_that_ends_at_once_is_followed_by_the_check_it_requested() -> None:
    kept = Quick()
    scheduler.check_in(kept, 0.0)
    eventually(lambda: kept.looks >= 3, within=scheduler.LONGEST_ALONE / 4)


class Idle:
    """A refreshable that is not due on the clock since boot."""

    resource = label = "a store"

    def __init__(self) -> None:
        self.looks = 0

    def refresh_if_due(self) -> float | None:
        self.looks += 1
        return math.inf


def test_a_check_for_which_no_thread_can_be_started_is_made_later(  # F33
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "PAUSE", 0.05)
    submit, refused = pool.submit, list[pool.Task[object]]()

    def refuse_the_first(task: pool.Task[object]) -> None:
        if refused:
            submit(task)
        else:
            refused.append(task)
            task.refuse()

    monkeypatch.setattr(pool, "submit", refuse_the_first)
    kept = Idle()
    scheduler.check_in(kept, 0.0)
    eventually(lambda: kept.looks >= 1, within=scheduler.LONGEST_ALONE / 4)


def test_every_manager_is_checked_after_the_wall_clock_was_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # F16
    monkeypatch.setattr(scheduler, "LONGEST_SLEEP", 0.05)
    kept = [Idle() for _ in range(3)]
    own = scheduler.Scheduler()
    for each in kept:
        own.check_in(each, 0.0)
    eventually(lambda: [each.looks for each in kept] == [1, 1, 1])
    # a manager whose check has not come back yet is not moved
    eventually(lambda: len(own._due) == len(kept))
    monkeypatch.setattr(clock, "now", lambda: Instant(0.0, clock.since_boot()))
    eventually(lambda: all(each.looks >= 2 for each in kept), within=scheduler.LONGEST_ALONE / 4)


class Hanging(Failing):
    """A refreshable whose check waits for a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def refresh_if_due(self) -> float | None:
        self.looks += 1
        self.gate.wait(20)
        return None


def test_a_hanging_folder_does_not_delay_other_managers() -> None:  # F42
    hanging = [Hanging() for _ in range(pool.SIZE)]
    for each in hanging:
        scheduler.check_in(each, 0.0)
    eventually(lambda: sum(each.looks for each in hanging) == pool.SHARE)
    with sibling(CountingGrant(), keep_fresh=True) as manager:
        eventually(partial(is_fresh, manager))
    assert sum(each.looks for each in hanging) == pool.SHARE
    for each in hanging:
        each.gate.set()
