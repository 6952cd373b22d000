"""Holds the snapshot of one manager, polls the stores, and starts the one renewal."""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core import state
from evertoken.core.entry import NOTHING, Entry, adds, join
from evertoken.core.state import EMPTY
from evertoken.engine.claim import Claim
from evertoken.errors import TokenError, capture
from evertoken.ports import RemoteStore, name_of, trouble_of
from evertoken.runtime import clock, process
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evertoken import status
    from evertoken.core import effects, protocol
    from evertoken.core.effects import Plan, RenewalRequest, Result
    from evertoken.core.instant import Instant
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token, TokenKey
    from evertoken.engine import (
        crash,
        driver,
        exit_hold,
        health,
        in_flight,
        reporting,
        store_watcher,
    )
    from evertoken.engine.exit_hold import ExitHold
    from evertoken.engine.in_flight import InFlight
    from evertoken.events import Event
    from evertoken.ports import Grant, TokenStore
    from evertoken.status import Counters, Status
    from evertoken.stores.memory import MemoryStore

    Stores = tuple[MemoryStore, *tuple[TokenStore, ...]]
else:
    # a process that finds a token in its store needs none of them
    crash, driver, exit_hold, health, in_flight, reporting, store_watcher = (
        lazy(f"evertoken.engine.{name}")
        for name in (
            "crash",
            "driver",
            "exit_hold",
            "health",
            "in_flight",
            "reporting",
            "store_watcher",
        )
    )
    effects, protocol = (lazy(f"evertoken.core.{name}") for name in ("effects", "protocol"))
    status = lazy("evertoken.status")

REQUEST_SLACK = 1.0
"""Seconds beyond a grant's own deadline after which its answer is late: its process was frozen."""


class Renewer:
    """One snapshot behind one attribute, and all that replaces it.

    `snapshot` is read without a lock; it is replaced under the lock alone, by a pure function.
    """

    __slots__ = (
        "__weakref__",
        "_adoptions",
        "_claim",
        "_counters",
        "_health",
        "_listener",
        "_lock",
        "_near",
        "_on_event",
        "_polled_at",
        "_watchers",
        "in_flight",
        "policy",
        "snapshot",
        "stores",
        "timeout",
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
        self.stores = stores
        self.policy = policy
        self.timeout = timeout
        self.snapshot: Snapshot = EMPTY
        self._claim = Claim(stores[0], grant, proof)
        self._on_event = on_event
        # by polls; a number, since a process that finds its token has no use for `Counters` yet
        self._adoptions = 0
        self._counters: Counters | None = None
        self._polled_at = -math.inf
        remote = [store for store in stores if isinstance(store, RemoteStore)]
        self._watchers = tuple(store_watcher.StoreWatcher(store) for store in remote)
        # the very sequence given, where it is the same: a process may hold thousands of these
        self._near: Sequence[TokenStore] = (
            [store for store in stores if store not in remote] if remote else stores
        )
        self._health = None if on_event is None else health.Health(stores, on_event)
        self.renew_in_child()

    def renew_in_child(self) -> None:
        """Start over without the parent's lock and the thread that ran its renewal."""
        # Guards snapshot, in_flight, _listener and _counters. Reentrant, since a signal handler or
        # a destructor may ask for a token while its own thread is in here; one more renewal is all
        # that it costs.
        self._lock = threading.RLock()
        self.in_flight: InFlight | None = None
        self._listener: Callable[[], None] | None = None
        for watcher in self._watchers:
            watcher.renew_in_child()
        if self._health is not None:
            self._health.renew_in_child()
        # closes the fast path: the child's first call looks at everything. The renewal that was to
        # replace a rejected token runs in the parent only.
        self.snapshot = replace(state.closed(self.snapshot), rejected=False)

    # -- what stands -------------------------------------------------------------------------------

    def identity(self) -> TokenKey:
        """Whose token the snapshot is of, as the last renewal read it; asked for before the first.

        A user name may be a callable, which is not to be asked once a second.
        """
        return self.snapshot.key or self._identify(self._claim.grant.key)

    def _identify(self, key: TokenKey) -> TokenKey:
        with self._lock:
            if self.snapshot.key is None:
                self.snapshot = replace(self.snapshot, key=key)
            return self.snapshot.key or key

    def status(self) -> Status:
        """What stands at this moment."""
        with self._lock:
            snapshot, renewing = self.snapshot, self.in_flight is not None
            counters = (self._counters or status.Counters()).plus(adoptions=self._adoptions)
        return status.status_of(snapshot, clock.now(), counters, renewing=renewing)

    def with_fast_path(self, snapshot: Snapshot, now: Instant) -> Snapshot:
        """Open `snapshot` to the one-clock check, unless another was published meanwhile."""
        # not beyond the next poll: a sibling may have revoked the token since the last one
        poll_in = max(0.0, self._polled_at + self.policy.recheck - now.boot)
        opened = state.with_fast_path(snapshot, now, self.policy, poll_in=poll_in)
        with self._lock:
            if self.snapshot is snapshot:
                self.snapshot = opened
        return opened

    def listen(self, listener: Callable[[], None]) -> bool:
        """Have `listener` called after each renewal; False if there is one already."""
        with self._lock:
            if self._listener is not None:
                return False
            self._listener = listener
            return True

    # -- polls -------------------------------------------------------------------------------------

    def poll(self, now: Instant) -> Snapshot:
        """The snapshot after a poll of the stores, taken at most once per `recheck`.

        A store across a network has a `recheck` of its own, and is polled in the background: it is
        waited for no longer than anybody would notice.
        """
        if now.boot - self._polled_at < self.policy.recheck:
            return self.snapshot
        return self._poll(now, urgent=False)

    def poll_now(self, now: Instant) -> Snapshot:
        """As `poll`, however short ago the last one was, and waiting for every store."""
        return self._poll(now, urgent=True)

    def _poll(self, now: Instant, *, urgent: bool) -> Snapshot:
        # before the identity: a callable that fails is not asked at each call
        self._polled_at = now.boot
        key = capture(self.identity)
        if isinstance(key, TokenError):
            # a renewal says why
            return self.snapshot
        merge = functools.partial(self._merge, key)
        for store in self._near:
            merge(store, store.load(key), now)
        for watcher in self._watchers:
            watcher.poll(key, now, merge, urgent=urgent)
        self._report_health()
        return self.snapshot

    def _merge(self, key: TokenKey, store: TokenStore, found: Entry | None, now: Instant) -> None:
        may_adopt = self._may_adopt(key, found, now)
        with self._lock:
            before = self.snapshot
            if before.key != key:
                return  # a renewal has found another identity meanwhile
            self.snapshot = after = state.merge_shared(
                before,
                found,
                now,
                self.policy,
                jitter_fraction=process.jitter_fraction(),
                may_adopt=may_adopt,
            )
            self._adoptions += after.token is not None and after.token is not before.token
        if after is not before:
            self._report_poll(before, after, name_of(store), now)
        self._mend(key, store, found, after.entry)

    def _may_adopt(self, key: TokenKey, found: Entry | None, now: Instant) -> bool:
        token = None if found is None else found.token
        if token is None or token == self.snapshot.token or not self.policy.usable(token, now):
            return False
        return self._claim.admit_unread(key)

    def _mend(self, key: TokenKey, store: TokenStore, found: Entry | None, known: Entry) -> None:
        """Save what a store has lost (flushed, restored from a backup), in the background."""
        held = found or NOTHING
        if store is self.stores[0] or known == held or self.in_flight is not None:
            return
        if trouble_of(store, key) is None and adds(known, held):
            _in_background(functools.partial(store.save, key, known))

    # -- renewals ----------------------------------------------------------------------------------

    def start(self, request: RenewalRequest) -> InFlight:
        """The renewal that is in flight, or else a new one that does what `request` says."""
        with self._lock:
            if self.in_flight is not None:
                return self.in_flight
            renewal, started = self._start(request)
        return renewal if started else self._run_here(renewal)

    def replace_rejected(
        self, rejected: str, now: Instant, may_replace: Callable[[TokenKey], bool]
    ) -> InFlight | None:
        """The renewal that replaces the token of the header `rejected`.

        One that is in flight already does; a new one needs `may_replace`, else None. It is
        not `force`: a back-off still binds it. One lock holds
        question and start together: of many threads that meet a 401 at once the first one starts
        it, and all others find its renewal or its token.
        """
        key = self.identity()
        with self._lock:
            if self.in_flight is not None:
                return self.in_flight
            snapshot = self.snapshot
            if snapshot.header != rejected or not may_replace(key):
                return None
            request = effects.RenewalRequest(snapshot=snapshot, start=now, rejected=snapshot.token)
            # a caller that comes now would send a token known to be dead: it waits instead
            self.snapshot = state.with_rejected(snapshot)
            renewal, started = self._start(request)
        return renewal if started else self._run_here(renewal)

    def plan(self) -> Plan:
        """How this manager renews."""
        grant = self._claim.grant
        longest: object = getattr(grant, "deadline", None)
        # a grant that does not bound its requests cannot be late
        seconds = longest if isinstance(longest, float | int) else math.inf
        return effects.Plan(
            stores=len(self.stores),
            policy=self.policy,
            # a stuck holder leaves a caller time for a request
            lock_timeout=self.timeout / 2,
            deadline=seconds + REQUEST_SLACK,
            jitter_fraction=process.jitter_fraction(),
            exclusive=getattr(grant, "exclusive", False) is True,
        )

    def _start(self, request: RenewalRequest) -> tuple[InFlight, bool]:
        renewal = in_flight.InFlight(request)
        started = renewal.start(self._run)
        # only now: Ctrl-C in the line above must not leave a renewal that nobody runs
        self.in_flight = renewal
        return renewal, started

    def _run_here(self, renewal: InFlight) -> InFlight:
        """Renew in the caller's thread if it has to wait anyway; nobody else is to stall."""
        if renewal.request.blocking:
            self._run(renewal)
        else:
            self._publish(renewal, effects.Result(source=effects.Source.PUT_OFF))
        return renewal

    def _run(self, renewal: InFlight) -> None:
        result = effects.Result(source=effects.Source.PUT_OFF)
        hold = exit_hold.ExitHold()
        publish = functools.partial(self._publish_early, renewal, hold)
        request = renewal.request
        try:
            steps = protocol.renewal(self.plan(), request)
            result = driver.Driver(self._claim, self.stores, request.start, publish).run(steps)
        except Exception as error:  # noqa: BLE001  a store or a grant of a user's own may raise anything
            result = crash.crashed(error, request, self.plan())
        finally:
            self._publish(renewal, result)
            hold.release()
            # only now: what a listener does must not wait for a lock that this renewal holds
            renewal.report()

    def _publish_early(self, renewal: InFlight, hold: ExitHold, result: Result) -> None:
        hold.start()
        self._publish(renewal, result)

    def _publish(self, renewal: InFlight, result: Result) -> None:
        """Release the waiting callers; what a renewal learns after that is merged."""
        now = clock.elapsed(renewal.request.start)
        with self._lock:
            if self.in_flight is not renewal:
                if result.key == self.snapshot.key:
                    self.snapshot = state.knowing(self.snapshot, result.entry, now)
                return
            before = self.snapshot
            self.snapshot = after = state.apply_result(
                before, result, now, self.policy, jitter_fraction=process.jitter_fraction()
            )
            self._counters = reporting.counted(self._counters or status.Counters(), result)
            self.in_flight = None
        renewal.report = functools.partial(self._report, result, before, after, now)
        renewal.publish(result, after)
        if self._listener is not None:
            self._listener()

    def _report(self, result: Result, before: Snapshot, after: Snapshot, now: Instant) -> None:
        reporting.report_result(
            result, before, after, now, stores=self.stores, on_event=self._on_event
        )
        self._report_health()

    # -- dead tokens -------------------------------------------------------------------------------

    def invalidate(self, token: Token) -> None:
        """Let go of `token` for good, here and in the stores; a later one stays."""
        key = self.identity()
        known = functools.reduce(join, (store.load(key) or NOTHING for store in self.stores))
        with self._lock:
            before = self.snapshot if self.snapshot.key == key else replace(EMPTY, key=key)
            after = state.invalidated(before, token.value, known)
            # a renewal may have found another identity meanwhile, whose token is not this one
            if self.snapshot.key == key:
                self.snapshot = after
        if after is not before:
            # the tombstone alone: siblings need nothing else of what this manager knows
            self._save(key, Entry.of_revocation(after.entry.revoked_through))

    def revoke(self) -> tuple[Sequence[Token], TokenError | None]:
        """Revoke the tokens of this manager's credentials; those, and the first error."""
        now = clock.now()
        key = capture(self.identity)
        known = None if isinstance(key, TokenError) else key
        performer = driver.Driver(self._claim, self.stores, now, _ignore, known=known)
        snapshot = self.snapshot
        outcome = performer.run(protocol.revocation(self.plan(), snapshot))
        whose = performer.identity or snapshot.key
        with self._lock:
            # a renewal may have found another identity meanwhile, whose token lives
            if self.snapshot.key in {None, whose}:
                self.snapshot = state.revoked(self.snapshot, outcome.entry)
        if whose is not None and outcome.tokens:
            self._save(whose, outcome.entry)
        return outcome.tokens, outcome.error

    def _save(self, key: TokenKey, known: Entry) -> None:
        for store in reversed(self.stores):
            store.save(key, known)

    # -- reports -----------------------------------------------------------------------------------

    def _report_poll(self, before: Snapshot, after: Snapshot, store: str, now: Instant) -> None:
        token, failure = after.token, after.failure
        if token is not None and token is not before.token:
            reporting.report_token(token, store, 0.0, after, on_event=self._on_event)
        if failure is not None:
            reporting.report_failure(failure, before, after, now, on_event=self._on_event)

    def _report_health(self) -> None:
        if self._health is not None and self.snapshot.key is not None:
            self._health.report(self.snapshot.key)


def _ignore(_result: Result) -> None:
    """A revocation publishes nothing before its end."""


def _in_background(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call, name="evertoken-save", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return  # no thread can start, as at interpreter exit; the next poll tries again
