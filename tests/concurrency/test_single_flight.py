"""However many threads ask, one renewal runs, and no caller with a usable token waits."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from evertoken import (
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    MemoryStore,
    RefreshPolicy,
    RefreshTimeout,
    RevocationFailed,
    Token,
    TokenManager,
)
from evertoken.core.hold import Hold
from evertoken.events import RenewalFailed, TokenRenewed
from evertoken.runtime import clock, process
from support.fleet import CountingGrant, eventually, held, in_threads, sibling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evertoken import TokenKey
    from evertoken.events import Event

SHORT = 4.0
"""Seconds. The token is due after three of them, and usable for almost one more."""

WHENEVER = clock.now()

PATIENT = RefreshPolicy(retry_after=0.0, retry_after_max=0.0)
"""A back-off that ends at once."""


@pytest.mark.parametrize("threads", [64, 200])
@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_threads_without_a_token_cost_one_grant(
    threads: int, *, shared: bool, tmp_path: Path
) -> None:
    grant = CountingGrant()
    manager = sibling(grant, tmp_path if shared else None)
    results = in_threads(threads, manager.token)
    assert grant.requests == 1
    assert len(results) == threads
    assert len(set(map(repr, results))) == 1
    assert isinstance(results[0], Token)


def test_managers_of_one_process_share_one_grant() -> None:
    grant = CountingGrant()
    memory = MemoryStore()
    managers = [TokenManager(grant, memory=memory) for _ in range(9)]
    tokens = {in_threads(4, manager.token)[0] for manager in managers}
    assert grant.requests == 1
    assert len(tokens) == 1


def test_no_call_waits_while_a_token_is_usable_and_the_endpoint_hangs() -> None:
    grant = CountingGrant(lifetime=SHORT)
    manager = sibling(grant, policy=RefreshPolicy(refresh_before=SHORT, jitter=0.0))
    first = manager.token()
    with held(grant):
        # the token is due a quarter of its lifetime before its end, and still usable for long
        eventually(lambda: manager.status().state == "stale")
        started = time.monotonic()
        tokens = [manager.token() for _ in range(100)]
        took = time.monotonic() - started
        eventually(lambda: grant.requests == 2)
        assert set(tokens) == {first}
        # a call that waits would wait for the gate
        assert took < 1.0
        assert manager.status().renewing
    eventually(lambda: not manager.status().renewing)
    assert manager.token() != first
    assert grant.requests == 2


def test_a_caller_gives_up_at_its_timeout_and_the_renewal_goes_on() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    with held(grant):
        with pytest.raises(RefreshTimeout) as caught:
            manager.token(timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.transient
        with pytest.raises(RefreshTimeout):
            manager.refresh(timeout=0.0)
        assert manager.status().renewing
    eventually(lambda: manager.status().state == "fresh")
    assert manager.token(timeout=0.0).value
    assert grant.requests == 1


def test_a_managers_own_timeout_bounds_every_call() -> None:
    grant = CountingGrant()
    manager = sibling(grant, timeout=0.05)
    with held(grant), pytest.raises(RefreshTimeout):
        manager.token()


def test_refresh_renews_a_fresh_token() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    first = manager.token()
    assert manager.refresh() != first
    assert manager.refresh() == manager.token()
    assert grant.requests == 3


def test_refresh_joins_a_running_renewal() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    with held(grant):
        waiters = [threading.Thread(target=manager.refresh) for _ in range(8)]
        for waiter in waiters:
            waiter.start()
        eventually(lambda: grant.requests == 1)
    for waiter in waiters:
        waiter.join(20)
    # a caller during the renewal has joined it; a later one may force another
    assert grant.requests <= 2


def test_threads_that_refresh_at_once_cost_one_grant() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    manager.token()
    grant.gate.clear()
    barrier = threading.Barrier(9)

    def refresh() -> None:
        barrier.wait(20)
        manager.refresh()

    threads = [threading.Thread(target=refresh) for _ in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait(20)
    eventually(lambda: grant.requests == 2)
    # it is published just after its thread has started
    eventually(lambda: manager.renewer.in_flight is not None)
    renewal = manager.renewer.in_flight
    assert renewal is not None
    # all of them wait
    eventually(lambda: len(renewal._task.waiters._releases) == 8)
    grant.gate.set()
    for thread in threads:
        thread.join(20)
    assert grant.requests == 2


def test_a_token_call_during_a_refresh_goes_on_with_the_old_token() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    first = manager.token()
    with held(grant):
        refreshing = threading.Thread(target=manager.refresh)
        refreshing.start()
        eventually(lambda: grant.requests == 2)
        assert manager.token(timeout=0.0) == first
    refreshing.join(20)
    assert manager.token() != first


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_an_invalidated_token_is_renewed_at_once(*, shared: bool, tmp_path: Path) -> None:
    grant = CountingGrant()
    manager = sibling(grant, tmp_path if shared else None)
    first = manager.token()
    manager.invalidate(first)
    second = manager.token()
    assert second != first
    assert grant.requests == 2


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_invalidating_an_earlier_token_leaves_the_later(*, shared: bool, tmp_path: Path) -> None:
    grant = CountingGrant()
    manager = sibling(grant, tmp_path if shared else None)
    first = manager.token()
    second = manager.refresh()
    manager.invalidate(first)
    assert manager.token() == second
    assert sibling(grant, tmp_path if shared else None).token(timeout=5.0) is not None
    assert grant.requests == (2 if shared else 3)


def test_unforced_grants_are_at_least_a_second_apart() -> None:
    grant = CountingGrant(lifetime=0.0)  # F28: it has expired when it arrives
    manager = sibling(grant)
    started = time.monotonic()
    tokens = [manager.token() for _ in range(3)]
    assert len(set(tokens)) == 3
    assert time.monotonic() - started >= 1.9


# --- a first grant -----------------------------------------------------------------------------


def unavailable(retry_after: float | None = None, *, transient: bool = True) -> GrantUnavailable:
    return GrantUnavailable("503", status=503, retry_after=retry_after, transient=transient)


def test_a_passing_error_of_the_first_grant_is_not_raised() -> None:
    grant = CountingGrant()
    grant.failures = [unavailable(), unavailable(0.1)]
    assert sibling(grant).token().value
    assert grant.requests == 3


def test_a_first_grant_gives_up_after_three_tries() -> None:
    grant = CountingGrant()
    grant.failure = unavailable()
    manager = sibling(grant)
    with pytest.raises(GrantUnavailable):
        manager.token()
    assert grant.requests == 3
    assert manager.status().counters.failures == 1


@pytest.mark.parametrize(
    "failure",
    [
        GrantRefused("no", status=400, error="invalid_grant"),
        InvalidTokenResponse("what is this"),
        unavailable(retry_after=3.0),
        unavailable(transient=False),
    ],
    ids=["refused", "nonsense", "asked to wait", "not transient"],
)
def test_a_failure_that_a_retry_cannot_fix_is_raised_at_once(
    failure: GrantRefused | GrantUnavailable | InvalidTokenResponse,
) -> None:
    grant = CountingGrant()
    grant.failure = failure
    with pytest.raises(type(failure)):
        sibling(grant).token()
    assert grant.requests == 1


def test_a_first_grant_tries_no_longer_than_the_managers_timeout() -> None:
    grant = CountingGrant()
    grant.failure = unavailable()
    with pytest.raises(GrantUnavailable):
        sibling(grant, timeout=0.2).token(timeout=20)
    assert grant.requests == 1


def test_a_first_grant_that_hung_is_not_tried_again() -> None:
    grant = CountingGrant()
    grant.failure = unavailable()
    threading.Timer(1.2, grant.gate.set).start()
    with held(grant), pytest.raises(GrantUnavailable):
        sibling(grant).token()
    assert grant.requests == 1


def test_in_a_known_outage_one_request_is_sent_per_back_off() -> None:
    grant = CountingGrant()
    grant.failure = unavailable()
    manager = sibling(grant, policy=PATIENT)
    for _ in range(3):
        with pytest.raises(GrantUnavailable):
            manager.token()
    assert grant.requests == 3 + 1 + 1


def test_a_renewal_is_not_tried_again_while_a_token_lives() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    manager.token()
    grant.failure = unavailable()
    with pytest.raises(GrantUnavailable):
        manager.refresh()
    assert grant.requests == 2
    assert manager.status().state == "fresh"


# --- what may go wrong around a renewal ----------------------------------------------------------


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_first_grant_runs_in_the_caller_if_no_thread_can_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert manager.token().value
    assert manager.refresh().value
    assert grant.requests == 2


def test_a_usable_token_is_served_if_no_thread_can_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grant = CountingGrant()
    policy = RefreshPolicy(refresh_before=3.9, jitter=0.0)
    manager = sibling(grant, policy=policy)
    grant.lifetime = 4.0
    first = manager.token()
    eventually(lambda: manager.status().state == "stale")

    with held(grant):
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        assert manager.token(timeout=0.0) == first
    assert grant.requests == 1


def test_a_credential_callable_that_exits_raises_an_error_in_its_caller() -> None:
    grant = CountingGrant()

    def leave() -> Token:
        raise SystemExit("no password file")

    grant.request = leave  # type: ignore[method-assign]  # a user's callable does this
    with pytest.raises(GrantUnavailable, match="SystemExit"):
        sibling(grant, timeout=0.1).token(timeout=20)


def test_a_signal_handler_may_ask_for_a_token_wherever_it_interrupts() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    with process.lock():
        manager.status()
        manager.renewer.with_fast_path(manager.renewer.snapshot, WHENEVER)
    assert manager.token().value


def test_listeners_are_called_outside_all_locks() -> None:
    grant = CountingGrant()
    told: list[Event] = []

    def ask_back(event: Event) -> None:
        told.append(event)
        manager.status()
        in_threads(1, lambda: manager.token(timeout=1.0))

    manager = sibling(grant, on_event=ask_back)
    manager.token()
    eventually(lambda: told)
    assert isinstance(told[0], TokenRenewed)
    assert told[0].source == "grant"


def test_a_failure_while_a_token_lives_is_tried_again_at_its_end_at_the_latest() -> None:
    grant = CountingGrant(lifetime=40.0)
    told: list[Event] = []
    manager = sibling(grant, on_event=told.append)
    token = manager.token()
    grant.failure = unavailable(3600.0)
    with pytest.raises(GrantUnavailable):
        manager.refresh()
    eventually(lambda: len(told) == 2)
    assert isinstance(told[1], RenewalFailed)
    assert told[1].next_try < token.expires_at


def test_a_siblings_failure_is_reported_once_the_token_is_due(tmp_path: Path) -> None:
    grant = CountingGrant(lifetime=SHORT)
    told: list[Event] = []
    manager = sibling(grant, tmp_path, on_event=told.append)
    token = manager.token()
    grant.failure = unavailable(60.0)
    with pytest.raises(GrantUnavailable):
        sibling(grant, tmp_path).refresh()
    requests = grant.requests

    eventually(lambda: (manager.token() == token, len(told) > 1)[1])
    assert [type(event) for event in told] == [TokenRenewed, RenewalFailed]
    assert grant.requests == requests == 2


def test_a_failure_is_reported_once_per_renewal() -> None:
    grant = CountingGrant()
    grant.failure = unavailable(3600.0)
    told: list[Event] = []
    manager = sibling(grant, on_event=told.append)
    for _ in range(3):
        with pytest.raises(GrantUnavailable):
            manager.token()
    eventually(lambda: told)
    assert [type(event) for event in told] == [RenewalFailed]
    assert grant.requests == 1


class Nameless(CountingGrant):
    """A grant whose user name cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __getattribute__(self, name: str) -> object:
        if name == "key":
            self.asked += 1
            raise GrantUnavailable("could not read the username", retry_after=3600.0)
        return super().__getattribute__(name)


def test_a_failing_username_callable_is_called_at_most_once_per_recheck() -> None:
    grant = Nameless()
    manager = sibling(grant, policy=RefreshPolicy(recheck=600.0))
    for _ in range(20):
        with pytest.raises(GrantUnavailable, match="could not read the username"):
            manager.token()
    # by the first poll, and by the renewal that reports the reason
    assert grant.asked <= 2


# --- the edges of a manager ----------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [-1.0, float("nan")])
def test_an_invalid_timeout_is_rejected(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        sibling(CountingGrant(), timeout=timeout)
    manager = sibling(CountingGrant())
    for call in (manager.token, manager.header, manager.refresh):
        with pytest.raises(ValueError, match="timeout must be a number of seconds"):
            call(timeout=timeout)


def test_a_revocation_waits_for_a_running_renewal() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    manager.token()
    with held(grant):
        refreshing = threading.Thread(target=manager.refresh)
        refreshing.start()
        eventually(lambda: grant.requests == 2)
        revoking = threading.Thread(target=manager.revoke)
        revoking.start()
        assert grant.revoked == []
    for thread in (refreshing, revoking):
        thread.join(20)
    # the first token too, if the revocation began while it was still sent
    assert grant.revoked[-1].startswith("token-2-")
    assert manager.status().state == "none"


def test_a_hanging_renewal_does_not_prevent_a_revocation() -> None:
    grant = CountingGrant()
    manager = sibling(grant, timeout=0.2)
    first = manager.token()
    with held(grant):
        with pytest.raises(RefreshTimeout):
            manager.refresh()
        manager.revoke()
        assert grant.revoked == [first.value]
        assert manager.status().state == "none"


def test_a_failed_revocation_is_raised_and_the_token_is_still_dropped() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    first = manager.token()

    def fail(token: Token) -> None:
        del token
        raise GrantUnavailable("503", status=503, transient=True)

    grant.revoke = fail  # type: ignore[method-assign]  # one that fails
    with pytest.raises(RevocationFailed):
        manager.revoke()
    assert manager.status().state == "none"
    assert manager.token() != first


def test_threads_that_get_a_401_at_once_cost_one_grant_and_wait_for_it() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    rejected = manager.header()
    grant.gate.clear()
    threading.Timer(0.2, grant.gate.set).start()
    headers = in_threads(16, lambda: manager.replacement(rejected))
    assert grant.requests == 2
    assert set(headers) == {manager.header()}
    assert headers[0] != rejected


def test_a_second_401_within_a_minute_forces_no_grant() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    second = manager.replacement(manager.header())
    assert second is not None
    assert manager.replacement(second) is None
    assert grant.requests == 2


def test_a_caller_during_a_forced_renewal_does_not_receive_the_rejected_token() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    first = manager.token()
    with held(grant):
        forcing = threading.Thread(target=manager.replacement, args=(manager.header(),))
        forcing.start()
        eventually(lambda: grant.requests == 2)
        with pytest.raises(RefreshTimeout):
            manager.token(timeout=0.05)
    forcing.join(20)
    assert manager.token() != first


def test_a_managers_repr_names_its_grant_and_its_state() -> None:
    manager = sibling(CountingGrant())
    assert repr(manager).startswith("<TokenManager of ")
    assert repr(manager).endswith(": none>")


class BusyAtFirst(MemoryStore):
    """A store whose lock another process holds, until it is asked a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.gate = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def lock(self, key: TokenKey, *, timeout: float) -> Iterator[Hold]:
        if self.asked.is_set():
            with super().lock(key, timeout=timeout) as hold:
                yield hold
        else:
            self.asked.set()
            assert self.gate.wait(20)
            yield Hold.BUSY


def test_a_401_that_meets_a_renewal_which_finds_another_process_busy_is_still_replaced() -> None:
    grant, store = CountingGrant(lifetime=SHORT), BusyAtFirst()
    store.asked.set()
    policy = RefreshPolicy(refresh_before=SHORT, jitter=0.0)
    manager = TokenManager(grant, store=store, memory=MemoryStore(), policy=policy)
    rejected = manager.header()
    eventually(lambda: manager.status().state == "stale")
    store.asked.clear()
    assert manager.header() == rejected, "a renewal in the background begins"
    assert store.asked.wait(20)

    with ThreadPoolExecutor() as threads:
        replacement = threads.submit(manager.replacement, rejected)
        renewal = manager.renewer.in_flight
        assert renewal is not None
        eventually(lambda: renewal._task.waiters._releases)
        store.gate.set()
        assert replacement.result(20) not in {None, rejected}
    assert grant.requests == 2
