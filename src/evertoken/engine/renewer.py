"""Holds the snapshot of one manager and runs the single renewal that replaces it."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core import state
from evertoken.core.state import EMPTY
from evertoken.engine import polling
from evertoken.engine.claim import Claim
from evertoken.engine.naming import phrase, url_of, whose
from evertoken.errors import TokenError
from evertoken.ports import RemoteStore
from evertoken.runtime import clock, process, waiters
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken import status
    from evertoken.core import effects, outcome, protocol
    from evertoken.core.effects import Plan, RenewalRequest
    from evertoken.core.instant import Instant
    from evertoken.core.outcome import Result
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.state import Snapshot
    from evertoken.core.token import TokenKey
    from evertoken.engine import crash, driver, health, in_flight, plan, reporting, store_watcher
    from evertoken.engine.in_flight import InFlight
    from evertoken.engine.naming import Whose
    from evertoken.events import Event
    from evertoken.ports import Grant, TokenStore
    from evertoken.runtime import reports, scheduler
    from evertoken.runtime.process import Process
    from evertoken.status import Counters, Status
    from evertoken.stores.memory import MemoryStore

    Stores = tuple[MemoryStore, *tuple[TokenStore, ...]]
else:
    # not needed by a process that finds a token in its store
    crash, driver, health, in_flight, reporting, store_watcher = (
        lazy(f"evertoken.engine.{name}")
        for name in ("crash", "driver", "health", "in_flight", "reporting", "store_watcher")
    )
    plan = lazy("evertoken.engine.plan")
    reports, scheduler = (lazy(f"evertoken.runtime.{name}") for name in ("reports", "scheduler"))
    effects, outcome, protocol = (
        lazy(f"evertoken.core.{name}") for name in ("effects", "outcome", "protocol")
    )
    status = lazy("evertoken.status")

SHORTEST_PAUSE = 0.05
"""Seconds between two renewals for `keep_fresh` at least: a policy's own pauses may be 0."""


class Renewer:
    """The snapshot of one manager, and everything that replaces it.

    `snapshot` is read without a lock. It is replaced by a pure function, only under the lock of the
    process, which also guards the renewal in flight and the counters.

    Attributes:
        snapshot: read by every request.
        stores: near to far; the first one is the process's memory.
        watchers: poll the remote stores.
        polled_at: when the near stores were last polled, on the clock since boot.
        save_again_at: when a failed save is tried again, on the clock since boot.
        adoptions: the number of tokens that polls adopted. Not in `Counters`, which a process that
            finds its token in a store need not load.
        kept_in: the process whose scheduler keeps the token fresh (`keep_fresh`).
    """

    __slots__ = (
        "__weakref__",
        "_counters",
        "_health",
        "_in_flight",
        "_rejection_reported_at",
        "adoptions",
        "grant",
        "kept_in",
        "on_event",
        "policy",
        "polled_at",
        "proof",
        "save_again_at",
        "snapshot",
        "stores",
        "timeout",
        "watchers",
    )

    def __init__(
        self,
        grant: Grant,
        stores: Stores,
        policy: RefreshPolicy,
        *,
        timeout: float,
        proof: bool,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.stores: Stores = stores
        self.policy: RefreshPolicy = policy
        self.timeout: float = timeout
        self.snapshot: Snapshot = EMPTY
        self.grant: Grant = grant
        self.proof: bool = proof
        self.on_event: Callable[[Event], None] | None = on_event
        self.adoptions: int = 0
        self._counters: Counters | None = None
        self._rejection_reported_at = -math.inf
        self.polled_at: float = -math.inf
        self.save_again_at: float = math.inf
        self.watchers: tuple[store_watcher.StoreWatcher, ...] = tuple(
            store_watcher.StoreWatcher(store) for store in stores if isinstance(store, RemoteStore)
        )
        self._health = None if on_event is None else health.Health(stores, on_event)
        self._in_flight: InFlight | None = None
        self.kept_in: Process | None = None

    @property
    def near(self) -> list[TokenStore]:
        """The stores that are not remote."""
        return [store for store in self.stores if not isinstance(store, RemoteStore)]

    @property
    def in_flight(self) -> InFlight | None:
        """The renewal in flight; a forked child ignores its parent's."""
        renewal = self._in_flight
        return renewal if renewal is not None and renewal.process is process.current() else None

    @property
    def claim(self) -> Claim:
        """Decides which stored tokens this manager may use."""
        return Claim(self.stores[0], self.grant, self.proof)

    # -- state -------------------------------------------------------------------------------------

    def identity(self) -> TokenKey:
        """The identity of the snapshot, as the last renewal read it.

        Before the first renewal this reads the grant's key, which may call a user's callable.
        """
        return self.snapshot.key or self._identify(self.grant.key)

    def known_identity(self) -> TokenKey | None:
        """The identity; None if it cannot be read."""
        try:
            return self.identity()
        except TokenError:
            return None

    def _identify(self, key: TokenKey) -> TokenKey:
        with process.lock():
            if self.snapshot.key is None:
                self.snapshot = replace(self.snapshot, key=key)
            return self.snapshot.key or key

    def status(self) -> Status:
        """The current state, for `TokenManager.status`."""
        with process.lock():
            snapshot, renewal = self.snapshot, self.in_flight
            counters = (self._counters or status.Counters()).plus(adoptions=self.adoptions)
        renewing = renewal is not None and renewal.started
        return status.status_of(
            snapshot, clock.now(), counters, renewing=renewing, **whose(snapshot.key, self.grant)
        )

    @property
    def whose(self) -> Whose:
        """The account and the token URL for events, as the last renewal read them."""
        return whose(self.snapshot.key, self.grant)

    @property
    def label(self) -> str:
        """The account and the token URL for log records."""
        return phrase(self.whose)

    def count_adopted_failure(self) -> None:
        """Count a failure that a poll found; called under the lock of the process."""
        self._counters = (self._counters or status.Counters()).plus(adopted_failures=1)

    def activated(self, snapshot: Snapshot, now: Instant) -> Snapshot:
        """`snapshot`, switched to its newest token if the activation delay is over at `now`."""
        if snapshot.former is None:
            return snapshot
        after = state.activated(snapshot, now)
        with process.lock():
            if self.snapshot is snapshot:
                self.snapshot = after
        return after

    def with_fast_path(self, snapshot: Snapshot, now: Instant) -> Snapshot:
        """Enable the one-clock check for `snapshot`, unless another was published meanwhile."""
        # only until the next poll: a sibling may revoke the token
        poll_in = max(0.0, self.polled_at + self.policy.recheck - now.boot)
        opened = state.with_fast_path(snapshot, now, self.policy, poll_in=poll_in)
        with process.lock():
            if self.snapshot is snapshot:
                self.snapshot = opened
        return opened

    # -- keep_fresh --------------------------------------------------------------------------------

    @property
    def resource(self) -> str:
        """The store that a check may hang on, for the pool."""
        return f"store {id(self.stores[-1])}"

    def keep(self) -> None:
        """Keep the token fresh without calls, from now on and in this process."""
        if self.kept_in is not process.current():
            self.kept_in = process.current()
            scheduler.check_in(self, 0.0)

    def refresh_if_due(self) -> float | None:
        """Start a renewal if one is due; returns seconds until the next check, None for never."""
        if self.kept_in is None:
            return None
        now = clock.now()
        snapshot = waiters.run(polling.poll(self, now))
        if not snapshot.due(now):
            return snapshot.due_at.left(now)
        self.start(effects.RenewalRequest(snapshot=snapshot, start=now))
        return math.inf

    # -- renewals ----------------------------------------------------------------------------------

    def start(self, request: RenewalRequest) -> InFlight:
        """Return the renewal in flight, or start a new one for `request`."""
        with process.lock():
            renewal = self._joinable() or self._begin(request)
        renewal.start()
        return renewal

    def replace_rejected(
        self, rejected: str, now: Instant, may_replace: Callable[[TokenKey], bool]
    ) -> InFlight | None:
        """Return the renewal that replaces the token in the header `rejected`.

        This is the renewal in flight or, if `may_replace` agrees, a new one; else None. The new one
        is not `force`: a back-off still binds it. Check and start happen under one lock, so if many
        threads get a 401 at once, the first starts the renewal and the others find it, or its
        token.
        """
        key = self.identity()
        with process.lock():
            snapshot = self.snapshot
            if snapshot.former is not None and snapshot.header == rejected:
                # the newer token is already here
                self.snapshot = state.promoted(snapshot)
                return None
            renewal = self._joinable()
            if renewal is None:
                if snapshot.header != rejected or not may_replace(key):
                    return None
                # new callers wait instead of sending a token that is known to be dead
                self.snapshot = state.with_rejected(snapshot)
                renewal = self._begin(effects.RenewalRequest(snapshot=self.snapshot, start=now))
        renewal.start()
        return renewal

    def _joinable(self) -> InFlight | None:
        """The renewal in flight, unless it was abandoned."""
        renewal = self.in_flight
        if renewal is None or renewal.abandoned(clock.since_boot()):
            return None
        return renewal

    def _begin(self, request: RenewalRequest) -> InFlight:
        self._in_flight = in_flight.InFlight(
            request,
            self._run,
            resource=url_of(self.grant) or self.resource,
            longest_step=plan.longest_step(self.plan()),
        )
        return self._in_flight

    def plan(self) -> Plan:
        """How this manager renews."""
        return plan.plan_of(self.grant, self.stores, self.policy, self.timeout)

    def _run(self, renewal: InFlight) -> None:
        result = outcome.Result(source=outcome.Source.INTERRUPTED)
        request = renewal.request
        publish = functools.partial(self._publish, renewal)
        try:
            steps = protocol.renewal(self.plan(), request)
            performer = driver.Driver(
                self.claim,
                self.stores,
                request.start,
                publish,
                on_step=renewal.step,
                on_unsaved=self.note_unsaved,
                account=self.whose["account"],
            )
            result = performer.run(steps)
        except BaseException as error:
            # in a caller's thread, Ctrl-C is meant for that caller
            if renewal.inline and not isinstance(error, Exception):
                raise
            result = crash.crashed(error, request, self.plan(), self.whose)
        finally:
            publish(result)
            reports.report_here()

    def note_unsaved(self) -> None:
        """Record that a save failed, so that a poll tries it again in `SAVE_AGAIN` seconds."""
        self.save_again_at = clock.since_boot() + polling.SAVE_AGAIN

    def _publish(self, renewal: InFlight, result: Result) -> None:
        """Release the waiting callers. A later result of the same renewal is only merged."""
        if renewal.process is not process.current():
            return  # a gevent greenlet that continued in a forked child
        now = clock.elapsed(renewal.request.start)
        with process.lock():
            if self._in_flight is not renewal:
                if result.key == self.snapshot.key:
                    self.snapshot = state.informed_by(self.snapshot, result.entry, now)
                return
            before = self.snapshot
            self.snapshot = after = outcome.apply_result(
                before, result, now, self.policy, jitter_fraction=process.jitter_fraction()
            )
            self._counters = reporting.counted(self._counters or status.Counters(), result, before)
            self._in_flight = None
        self._report(result, before, after, now)
        renewal.publish(result, after)
        if self.kept_in is not None:
            scheduler.check_in(self, max(SHORTEST_PAUSE, after.due_at.left(now)))

    def _report(self, result: Result, before: Snapshot, after: Snapshot, now: Instant) -> None:
        reporting.report_result(
            result,
            before,
            after,
            now,
            stores=self.stores,
            whose=whose(result.key or after.key, self.grant),
            on_event=self.on_event,
        )
        self.report_health()

    def report_rejection(self, now: Instant, seconds: float) -> None:
        """Report that an API rejected a token younger than `seconds`, at most once per `seconds`.

        An older token was rejected before, and the reason it could not be replaced was reported
        then.
        """
        with process.lock():
            snapshot, last = self.snapshot, self._rejection_reported_at
            token = snapshot.token
            if token is None or not token.issued_since(now.after(-seconds)):
                return
            if now.boot - last < seconds:
                return
            self._rejection_reported_at = now.boot
        first = last == -math.inf
        reporting.report_rejection(seconds, first=first, whose=self.whose, on_event=self.on_event)

    def report_health(self) -> None:
        """Report stores that stopped working, or work again, to the listener."""
        if self._health is not None and self.snapshot.key is not None:
            self._health.report(self.snapshot.key)
