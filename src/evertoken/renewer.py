"""Renewer: publishes the snapshot, looks at what siblings share, runs the one renewal."""

from __future__ import annotations

import functools
import logging
import math
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken import clock, policy, process
from evertoken.claim import Claim
from evertoken.errors import TokenError, capture
from evertoken.lazy import lazy
from evertoken.policy import EMPTY
from evertoken.ports import RemoteStore, name_of
from evertoken.token import Refusal, Token, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from evertoken import demand as demands
    from evertoken import events, health, lookout, renewal, status
    from evertoken import flight as flights
    from evertoken.demand import Demand, Outcome
    from evertoken.events import Event
    from evertoken.flight import Flight
    from evertoken.instant import Instant
    from evertoken.policy import RefreshPolicy, Snapshot
    from evertoken.ports import Grant, TokenStore
    from evertoken.status import Status
    from evertoken.stores.memory import MemoryStore
    from evertoken.token import Entry, TokenKey

    Stores = tuple[MemoryStore, *tuple[TokenStore, ...]]
else:
    # a process that finds a token in its store needs none of them
    events, flights, health, lookout = map(
        lazy, ("evertoken.events", "evertoken.flight", "evertoken.health", "evertoken.lookout")
    )
    demands, renewal, status = map(
        lazy, ("evertoken.demand", "evertoken.renewal", "evertoken.status")
    )

_log = logging.getLogger("evertoken")


class Renewer:
    """One snapshot behind one attribute, and all that replaces it.

    `snapshot` is read without a lock; it is only replaced under `lock`, and only by a later one.
    """

    __slots__ = (
        "__weakref__",
        "_adoptions",
        "_dead",
        "_failures",
        "_grants",
        "_health",
        "_key",
        "_looked_at",
        "_lookouts",
        "_near",
        "_proof",
        "flight",
        "grant",
        "lock",
        "on_event",
        "on_landing",
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
        self.grant = grant
        self.stores = stores
        self.policy = policy
        self.timeout = timeout
        self._proof = proof
        self.on_event = on_event
        self.on_landing: Callable[[], None] | None = None
        self.snapshot: Snapshot = EMPTY
        self._grants = self._adoptions = self._failures = 0
        self._dead: Refusal | None = None
        self._key: TokenKey | None = None
        self._looked_at = -math.inf
        remote = [store for store in stores if isinstance(store, RemoteStore)]
        self._lookouts = tuple(lookout.Lookout(store) for store in remote)
        # the very sequence given, where it is the same: a process may hold thousands of these
        self._near: Sequence[TokenStore] = (
            [store for store in stores if store not in remote] if remote else stores
        )
        # only for who listens: a process may hold thousands of these
        self._health = None if on_event is None else health.Health(stores, on_event)
        self.renew_in_child()

    def renew_in_child(self) -> None:
        """Start over without the parent's lock and the thread that ran its renewal."""
        # Guards snapshot, flight, _dead, the counts and the start of a keeper. Reentrant, since a
        # signal handler or a destructor may ask for a token while its own thread is in here; one
        # more renewal is all it costs.
        self.lock = threading.RLock()
        self.flight: Flight | None = None
        for lookout in self._lookouts:
            lookout.renew_in_child()
        if self._health is not None:
            self._health.renew_in_child()
        # closes the window of the one-clock check: the child's first call looks at everything
        self.snapshot = policy.unwatched(self.snapshot)

    def look(self, now: Instant) -> Snapshot:
        """The snapshot after a look at what siblings share, taken at most once per `recheck`.

        A store across a network has a `recheck` of its own, and is looked at in the background:
        it is waited for no longer than anybody would notice.
        """
        if now.boot - self._looked_at < self.policy.recheck:
            return self.snapshot
        return self._look(now, anew=False)

    def look_anew(self, now: Instant) -> Snapshot:
        """As `look`, however short ago the last one was, and waiting for every store."""
        return self._look(now, anew=True)

    def _look(self, now: Instant, *, anew: bool) -> Snapshot:
        # before the key: where that cannot be told, its callable is not to be asked at each call
        self._looked_at = now.boot
        key = capture(self.identity)
        if isinstance(key, TokenError):
            # a renewal says why
            return self.snapshot
        absorb = functools.partial(self._absorb, key)
        for store in self._near:
            absorb(store, store.load(key), now)
        for lookout in self._lookouts:
            lookout.look(key, now, absorb, anew=anew)
        self._report_health()
        return self.snapshot

    def watch(self, snapshot: Snapshot, now: Instant) -> Snapshot:
        """Open `snapshot` to the one-clock check, unless another was published meanwhile."""
        # not beyond the next look: a sibling may have revoked the token since the last one
        look_at = now.wall + max(0.0, self._looked_at + self.policy.recheck - now.boot)
        watched = policy.watched(snapshot, now, self.policy)
        watched = replace(watched, fresh_until=min(watched.fresh_until, look_at))
        with self.lock:
            if self.snapshot is snapshot:
                self.snapshot = watched
        return watched

    def under_way(self) -> Flight | None:
        """The renewal that runs, or is just about to."""
        with self.lock:
            return self.flight

    def launch(self, demand: Demand) -> Flight:
        """The renewal that runs, or else a new one that does what `demand` says."""
        with self.lock:
            if self.flight is not None:
                return self.flight
            flight, started = self._take_off(demand)
        return flight if started else self._fly_here(flight)

    def launch_forced(
        self, rejected: str, now: Instant, may_force: Callable[[TokenKey], bool]
    ) -> Flight | None:
        """The renewal that replaces the token of the header `rejected`.

        One that runs already does; a new one needs the word of `may_force`, else None. One lock
        holds question and launch together: of many threads that meet a 401 at once the first
        launches, and all others find its renewal or its token.
        """
        key = self.identity()
        with self.lock:
            if self.flight is not None:
                return self.flight
            snapshot = self.snapshot
            if snapshot.header != rejected or not may_force(key):
                return None
            demand = demands.Demand(snapshot=snapshot, start=now, rejected=snapshot.token)
            # whoever comes now would send a token known to be dead: it is to wait instead
            self.snapshot = policy.unwatched(snapshot)
            flight, started = self._take_off(demand)
        return flight if started else self._fly_here(flight)

    def drop(self, tokens: Iterable[Token]) -> None:
        """Let go of `tokens` for good: a look or a renewal under way does not bring them back."""
        now = clock.now()
        with self.lock:
            for token in tokens:
                if self._dead is None or not self._dead.ends(token, now):
                    self._dead = Refusal.tombstone(token, now)
            self.snapshot = self._living(self.snapshot, now)

    def identity(self) -> TokenKey:
        """Whose token the snapshot is of, as the last renewal read it; asked for before the first.

        A user name may be a callable, which is not to be asked once a second.
        """
        if self._key is None:
            self._key = self.grant.key
        return self._key

    def status(self) -> Status:
        """What stands at this moment."""
        with self.lock:
            snapshot, renewing = self.snapshot, self.flight is not None
            counters = status.Counters(
                grants=self._grants, adoptions=self._adoptions, failures=self._failures
            )
        return status.status_of(snapshot, clock.now(), counters, renewing=renewing)

    @property
    def claim(self) -> Claim:
        """Which tokens of the stores it may use."""
        return Claim(self.stores[0], self.grant, self._proof)

    @property
    def patience(self) -> float:
        """Seconds to wait for a lock: a stuck holder is to leave a caller time for a grant."""
        return self.timeout / 2

    def renewal(self) -> renewal.Renewal:
        """How this manager renews."""
        return renewal.Renewal(
            claim=self.claim,
            stores=self.stores,
            policy=self.policy,
            patience=self.patience,
            draw=process.lot(),
        )

    def _absorb(self, key: TokenKey, store: TokenStore, entry: Entry | None, now: Instant) -> None:
        entry = self._used(key, entry, now)
        with self.lock:
            if key != self._key:
                return  # a renewal has found another identity meanwhile
            before = self.snapshot
            after = policy.absorbed(before, entry, now, self.policy, draw=process.lot())
            self.snapshot = after = self._living(after, now)
            adopted = after.token is not None and after.token is not before.token
            if adopted:
                self._adoptions += 1
        if adopted and after.token is not None:
            self._report_token(name_of(store), 0.0, after.token)
        if after.refusal is not None:
            self._report_refusal(after.refusal, before.refusal)

    def _used(self, key: TokenKey, entry: Entry | None, now: Instant) -> Entry | None:
        """`entry`, without a token that would be adopted and belongs to other credentials."""
        token = token_of(entry)
        if token is None or token == self.snapshot.token or not self.policy.usable(token, now):
            return entry
        return self.claim.covered(key, entry)

    def _report_health(self) -> None:
        if self._health is None or isinstance(key := capture(self.identity), TokenError):
            return
        self._health.report(key)

    def _living(self, snapshot: Snapshot, now: Instant) -> Snapshot:
        token, dead = snapshot.token, self._dead
        return EMPTY if token and dead and dead.ends(token, now) else snapshot

    def _take_off(self, demand: Demand) -> tuple[Flight, bool]:
        flight = flights.Flight(demand)
        started = flight.take_off(self._fly)
        # only now: Ctrl-C in the line above must not leave a flight that nobody flies
        self.flight = flight
        return flight, started

    def _fly_here(self, flight: Flight) -> Flight:
        """Renew in the caller's thread if it has to wait anyway; nobody else is to stall."""
        if flight.demand.urgent:
            self._fly(flight)
        else:
            self._land(flight, demands.BUSY)
        return flight

    def _fly(self, flight: Flight) -> None:
        outcome = demands.BUSY
        try:
            outcome = self.renewal().run(replace(flight.demand, identity=self._key))
        finally:
            self._land(flight, outcome)

    def _land(self, flight: Flight, outcome: Outcome) -> None:
        now = clock.elapsed(flight.demand.start)
        with self.lock:
            before = self.snapshot.refusal
            if outcome.identity not in {None, self._key}:
                # another user's from now on: nothing of the last one may be sent or stored
                self.snapshot = EMPTY
                self._key = outcome.identity
            landed = policy.landed(
                self.snapshot, outcome.entry, now, self.policy, draw=process.lot()
            )
            self.snapshot = landed = self._living(landed, now)
            self._count(outcome)
            self.flight = None
        flight.landing.set_result(flights.Landing(outcome, landed))
        self._report(outcome, before)
        self._report_health()
        if self.on_landing is not None:
            self.on_landing()

    def _count(self, outcome: Outcome) -> None:
        granted = outcome.source == demands.GRANT
        if isinstance(outcome.entry, Refusal):
            self._failures += granted
        elif outcome.entry is not None:
            self._grants += granted
            self._adoptions += not granted

    def _report(self, outcome: Outcome, before: Refusal | None) -> None:
        entry = outcome.entry
        if isinstance(entry, Token):
            self._report_token(outcome.source, outcome.seconds, entry)
        elif isinstance(entry, Refusal):
            self._report_refusal(entry, before)

    def _report_refusal(self, refusal: Refusal, before: Refusal | None) -> None:
        if refusal.error is None or refusal == before:
            return
        known = before is not None and str(before.error) == str(refusal.error)
        _log.log(logging.DEBUG if known else logging.WARNING, "no new token: %s", refusal.error)
        kind = events.TokenRefused if refusal.tag else events.RenewalFailed
        again = policy.next_try(self.snapshot, refusal, clock.now())
        events.emit(self.on_event, kind(refusal.error, again))

    def _report_token(self, source: str, seconds: float, token: Token) -> None:
        _log.info("token from %s in %.3f s, good for %.0f s", source, seconds, token.lifetime)
        if self.on_event is not None:
            told = events.TokenRenewed(source, seconds, token.lifetime, token.expires_at)
            events.emit(self.on_event, told)
