"""Holds the snapshot of one manager, polls the stores, and starts the one renewal."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core import state
from evertoken.core.entry import NOTHING, Entry, adds, join
from evertoken.core.state import EMPTY
from evertoken.engine.claim import Claim
from evertoken.engine.naming import url_of
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
    from evertoken.engine import crash, driver, health, in_flight, reporting, store_watcher
    from evertoken.engine.in_flight import InFlight
    from evertoken.events import Event
    from evertoken.ports import Grant, TokenStore
    from evertoken.runtime import pool, reports, scheduler
    from evertoken.runtime.process import Process
    from evertoken.status import Counters, Status
    from evertoken.stores.memory import MemoryStore

    Stores = tuple[MemoryStore, *tuple[TokenStore, ...]]
else:
    # a process that finds a token in its store needs none of them
    crash, driver, health, in_flight, reporting, store_watcher = (
        lazy(f"evertoken.engine.{name}")
        for name in ("crash", "driver", "health", "in_flight", "reporting", "store_watcher")
    )
    pool, reports, scheduler = (
        lazy(f"evertoken.runtime.{name}") for name in ("pool", "reports", "scheduler")
    )
    effects, protocol = (lazy(f"evertoken.core.{name}") for name in ("effects", "protocol"))
    status = lazy("evertoken.status")

REQUEST_SLACK = 1.0
"""Seconds beyond a grant's own deadline after which its answer is late: its process was frozen."""

LONGEST_STEP = 30.0
"""Seconds after which a step of a renewal is taken to hang, where the grant has no deadline."""


class Renewer:
    """One snapshot behind one attribute, and all that replaces it.

    `snapshot` is read without a lock. It is replaced under the lock of the process alone, by a pure
    function, and so are the renewal in flight and the counters.

    Attributes:
        kept_in: the process whose scheduler keeps the token fresh without any call.
    """

    __slots__ = (
        "__weakref__",
        "_adoptions",
        "_counters",
        "_grant",
        "_health",
        "_in_flight",
        "_near",
        "_on_event",
        "_polled_at",
        "_proof",
        "_watchers",
        "kept_in",
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
        self._grant = grant
        self._proof = proof
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
        self._in_flight: InFlight | None = None
        self.kept_in: Process | None = None

    @property
    def in_flight(self) -> InFlight | None:
        """The renewal under way; one of the parent's is of no use to a forked child."""
        renewal = self._in_flight
        return renewal if renewal is not None and renewal.process is process.current() else None

    @property
    def _claim(self) -> Claim:
        return Claim(self.stores[0], self._grant, self._proof)

    # -- what stands -------------------------------------------------------------------------------

    def identity(self) -> TokenKey:
        """Whose token the snapshot is of, as the last renewal read it; asked for before the first.

        A user name may be a callable, which is not to be asked once a second.
        """
        return self.snapshot.key or self._identify(self._grant.key)

    def _known_identity(self) -> TokenKey | None:
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
        """What stands at this moment."""
        with process.lock():
            snapshot, renewal = self.snapshot, self.in_flight
            counters = (self._counters or status.Counters()).plus(adoptions=self._adoptions)
        renewing = renewal is not None and renewal.submitted
        return status.status_of(snapshot, clock.now(), counters, renewing=renewing)

    def with_fast_path(self, snapshot: Snapshot, now: Instant) -> Snapshot:
        """Open `snapshot` to the one-clock check, unless another was published meanwhile."""
        # not beyond the next poll: a sibling may have revoked the token since the last one
        poll_in = max(0.0, self._polled_at + self.policy.recheck - now.boot)
        opened = state.with_fast_path(snapshot, now, self.policy, poll_in=poll_in)
        with process.lock():
            if self.snapshot is snapshot:
                self.snapshot = opened
        return opened

    # -- keep_fresh --------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """What a look at the stores may hang with."""
        return f"store {id(self.stores[-1])}"

    def keep(self) -> None:
        """Keep the token fresh without any call, from now on and in this process."""
        if self.kept_in is not process.current():
            self.kept_in = process.current()
            scheduler.look_at(self, 0.0)

    def refresh_if_due(self) -> float | None:
        """Start a renewal if one is due; seconds until one may be due again; None: not kept."""
        if self.kept_in is None:
            return None
        now = clock.now()
        snapshot = self.poll(now)
        if not snapshot.due(now):
            return snapshot.due_at.left(now)
        self.start(effects.RenewalRequest(snapshot=snapshot, start=now))
        return math.inf

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
        key = self._known_identity()
        if key is None:
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
        with process.lock():
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
            pool.do_soon(functools.partial(store.save, key, known), self.place)

    # -- renewals ----------------------------------------------------------------------------------

    def start(self, request: RenewalRequest) -> InFlight:
        """The renewal that is in flight, or else a new one that does what `request` says."""
        with process.lock():
            renewal = self._joinable() or self._begin(request)
        renewal.start()
        return renewal

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
        with process.lock():
            renewal = self._joinable()
            if renewal is None:
                snapshot = self.snapshot
                if snapshot.header != rejected or not may_replace(key):
                    return None
                # a caller that comes now would send a token known to be dead: it waits instead
                self.snapshot = state.with_rejected(snapshot)
                renewal = self._begin(
                    effects.RenewalRequest(snapshot=snapshot, start=now, rejected=snapshot.token)
                )
        renewal.start()
        return renewal

    def _joinable(self) -> InFlight | None:
        """The renewal in flight, unless it can never end: what it brings no longer matters."""
        renewal = self.in_flight
        if renewal is None or renewal.abandoned(clock.since_boot()):
            return None
        return renewal

    def _begin(self, request: RenewalRequest) -> InFlight:
        plan = self.plan()
        longest_step = plan.deadline if math.isfinite(plan.deadline) else LONGEST_STEP
        self._in_flight = in_flight.InFlight(
            request,
            self._run,
            place=url_of(self._grant) or self.place,
            # its request may have spent the login: another one would spend it twice
            longest_step=math.inf if plan.exclusive else longest_step,
        )
        return self._in_flight

    def plan(self) -> Plan:
        """How this manager renews."""
        grant = self._grant
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

    def _run(self, renewal: InFlight) -> None:
        result = effects.Result(source=effects.Source.PUT_OFF)
        request = renewal.request
        publish = functools.partial(self._publish, renewal)
        try:
            steps = protocol.renewal(self.plan(), request)
            performer = driver.Driver(
                self._claim, self.stores, request.start, publish, on_step=renewal.step
            )
            result = performer.run(steps)
        except BaseException as error:
            # Ctrl-C is not the callable's, where a caller runs it
            if renewal.inline and not isinstance(error, Exception):
                raise
            result = crash.crashed(error, request, self.plan())
        finally:
            publish(result)
            reports.report_here()

    def _publish(self, renewal: InFlight, result: Result) -> None:
        """Release the waiting callers; what a renewal learns after that is merged."""
        now = clock.elapsed(renewal.request.start)
        with process.lock():
            if self._in_flight is not renewal:
                if result.key == self.snapshot.key:
                    self.snapshot = state.knowing(self.snapshot, result.entry, now)
                return
            before = self.snapshot
            self.snapshot = after = state.apply_result(
                before, result, now, self.policy, jitter_fraction=process.jitter_fraction()
            )
            self._counters = reporting.counted(self._counters or status.Counters(), result)
            self._in_flight = None
        self._report(result, before, after, now)
        renewal.publish(result, after)
        if self.kept_in is not None:
            scheduler.look_at(self, after.due_at.left(now))

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
        with process.lock():
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
        with process.lock():
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
