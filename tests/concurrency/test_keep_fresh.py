"""`keep_fresh` renews without any request, for as long as its manager is there and open."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from functools import partial

import pytest

from evertoken import GrantUnavailable, RefreshPolicy, TokenManager
from evertoken.engine import background
from evertoken.engine.background import BackgroundRefresher
from support.fleet import CountingGrant, eventually, held, in_threads, sibling


def refreshers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "evertoken-refresher"}


def is_fresh(manager: TokenManager) -> bool:
    return manager.status().state == "fresh"


def test_a_kept_token_is_there_before_the_first_request_and_renewed_without_any() -> None:
    grant = CountingGrant(lifetime=1.2)
    with sibling(grant, keep_fresh=True) as manager:
        eventually(lambda: grant.requests >= 1)
        eventually(lambda: grant.requests >= 3)
        assert manager.status().counters.grants >= 2
        assert manager.token(timeout=0.5).value


def test_a_refresher_listens_for_renewals_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[bool] = []

    def start(refresher: BackgroundRefresher) -> None:
        kept = refresher._kept()
        assert isinstance(kept, TokenManager)
        prepared.append(kept.renewer._listener == refresher.wake)

    monkeypatch.setattr(BackgroundRefresher, "start", start)
    manager = sibling(CountingGrant(), keep_fresh=True)
    assert manager.keep_fresh
    assert prepared == [True]


def test_calls_at_once_after_a_fork_start_one_refresher(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[BackgroundRefresher] = []
    start = BackgroundRefresher.start

    class Slow(BackgroundRefresher):
        def __init__(self, kept: TokenManager) -> None:
            # long enough for others to come, if they were let in
            threading.Event().wait(0.05)
            super().__init__(kept)

        def start(self) -> None:
            started.append(self)
            start(self)

    monkeypatch.setattr("evertoken.engine.background.BackgroundRefresher", Slow)
    with sibling(CountingGrant(), keep_fresh=True) as manager:
        started.clear()
        manager.renew_in_child()
        in_threads(8, manager._keep)
        assert len(started) == 1


def test_a_kept_token_costs_one_grant_a_lifetime() -> None:
    grant = CountingGrant(lifetime=2.0)
    started = time.monotonic()
    with sibling(grant, keep_fresh=True):
        eventually(lambda: grant.requests == 3)
        # renewed after three quarters of its life or, with all jitter, after 1.375 s of 2
        assert time.monotonic() - started > 2.6


def test_a_failing_endpoint_is_tried_again_by_the_refresher() -> None:
    grant = CountingGrant()
    grant.failure = GrantUnavailable("503", transient=True)
    policy = RefreshPolicy(retry_after=0.1, retry_after_max=0.1)
    with sibling(grant, keep_fresh=True, policy=policy) as manager:
        eventually(lambda: grant.requests >= 4)
        grant.failure = None
        eventually(lambda: manager.status().state == "fresh")


@pytest.mark.parametrize("renewing", [False, True])
def test_closing_ends_the_refresher_at_once(*, renewing: bool) -> None:
    before = refreshers()
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
        eventually(lambda: refreshers() <= before)
    # calls still work, and start no other refresher
    assert manager.token().value
    assert refreshers() <= before


def test_a_collected_manager_ends_its_refresher() -> None:
    before = refreshers()
    grant = CountingGrant()
    manager = sibling(grant, keep_fresh=True)
    eventually(partial(is_fresh, manager))
    gone = weakref.ref(manager)
    del manager
    gc.collect()
    assert gone() is None
    eventually(lambda: refreshers() <= before)


def test_the_garbage_collector_may_wake_a_refresher_inside_any_call() -> None:
    before = refreshers()

    class Kept:
        def refresh_if_due(self) -> float:
            return 0.0

    kept = Kept()
    refresher = BackgroundRefresher(kept)
    refresher.start()
    # a queue whose put() may interrupt itself; the lock of an Event would be taken twice
    assert type(refresher._wakes).__module__ == "_queue"
    refresher.stop()
    eventually(lambda: refreshers() <= before)


def test_managers_come_and_go_without_leaving_threads() -> None:
    before = threading.active_count()
    for _ in range(20):
        with sibling(CountingGrant(), keep_fresh=True) as manager:
            manager.token()
    eventually(lambda: threading.active_count() <= before)


def test_a_refresher_that_cannot_start_is_started_by_the_next_renewal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = refreshers()
    grant = CountingGrant(lifetime=1.2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        manager = sibling(grant, keep_fresh=True)
        assert manager.token().value
        assert refreshers() <= before
    with manager:
        manager.refresh()
        eventually(lambda: len(refreshers() - before) == 1)
        eventually(lambda: grant.requests >= 4)


def test_an_error_in_the_refresher_is_logged_without_its_text_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "PAUSE", 0.05)
    looks: list[None] = []

    class Failing:
        def refresh_if_due(self) -> float:
            looks.append(None)
            raise LookupError("the password is hunter2")

    kept = Failing()
    refresher = BackgroundRefresher(kept)
    refresher.start()
    eventually(lambda: len(looks) >= 3)
    refresher.stop()
    assert "LookupError" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_woken_refresher_has_one_thread_and_none_once_it_was_stopped() -> None:
    before = refreshers()

    class Kept:
        def refresh_if_due(self) -> float:
            return 60.0

    kept = Kept()
    refresher = BackgroundRefresher(kept)
    for _ in range(5):
        refresher.wake()
    # those of earlier tests may end meanwhile
    assert len(refreshers() - before) == 1
    refresher.stop()
    eventually(lambda: refreshers() <= before)
    refresher.wake()
    assert refreshers() <= before


def no_thread(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
