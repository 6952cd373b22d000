"""One renewal across threads, processes and machines, as a generator of effects.

The steps: read the credentials, lock, load, adopt or request, save. A driver performs the effects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core.effects import (
    Load,
    Lock,
    LockTimedOut,
    MayAdopt,
    Now,
    OrderingTime,
    ReadCredentials,
    Reading,
    Revoke,
    Save,
    Sleep,
)
from evertoken.core.entry import NOTHING, Entry, adds, join, join_at
from evertoken.core.exchange import Exchange
from evertoken.core.failure_kind import FailureKind
from evertoken.core.hold import Hold
from evertoken.core.outcome import Result, Source
from evertoken.core.policy import GRANT_FLOOR
from evertoken.core.state import EMPTY

if TYPE_CHECKING:
    from evertoken.core.effects import Plan, RenewalRequest, Steps
    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.token import Token

LOCK_POLL_INTERVAL = 1.0
"""Seconds to wait for a lock before the store is loaded again."""


class Renewal(Exchange):
    """One renewal: the locks and stores around one exchange."""

    def __init__(self, plan: Plan, request: RenewalRequest) -> None:
        super().__init__(plan, request)
        self._stored: dict[int, Entry] = {}

    def steps(self) -> Steps[Result]:
        """The whole renewal. It never raises: a failure is returned in the `Result`."""
        reading = yield ReadCredentials()
        if not isinstance(reading, Reading):
            return (yield from self.failed(reading, kind=FailureKind.LOCAL))
        self.reading: Reading | None = reading
        self._identify(reading)
        result = yield from self._remembered_refusal()
        if result is None:
            result = yield from self._from_store_on(0)
        if result.source is Source.GRANT and result.token and self.known.kills(result.token):
            yield Revoke(reading, result.token)
            result = yield from self.result(Source.REVOKED)
        return result if result.entry is self.known else replace(result, entry=self.known)

    def _identify(self, reading: Reading) -> None:
        """Drop what the manager knew if the credentials now name another identity."""
        if self.request.snapshot.key not in {None, reading.key}:
            self.known: Entry = NOTHING
            self.request: RenewalRequest = replace(self.request, snapshot=EMPTY)

    # -- locks and stores --------------------------------------------------------------------------

    def _from_store_on(self, store: int) -> Steps[Result]:
        """Lock the stores from `store` on, near to far, and ask; then save, far to near."""
        if store == self.plan.stores:
            return (yield from self._ask())
        result = yield from self._acquire(store)
        if result is None:
            result = yield from self._from_store_on(store + 1)
        if result.source is not Source.BUSY:
            yield from self.save(store)
        return result

    def _acquire(self, store: int) -> Steps[Result | None]:
        """Take the lock of `store`. A result means that its content makes that unnecessary."""
        tries = 0
        while (wait := (yield from self._wait(tries))) is not None:
            seconds, last = wait
            hold = yield Lock(store, seconds)
            found = yield from self._load_and_check(store)
            if found is not None or hold is not Hold.BUSY:
                return found or (yield from self.locked(store, hold))
            if last:
                return (yield from self.not_locked(store))
            tries += 1
        return (yield from self.result(Source.BUSY))

    def locked(self, store: int, hold: Hold) -> Steps[Result | None]:
        """Called once the lock of `store` is held, or not supported. A result ends the renewal."""
        del store, hold
        yield from ()
        return None

    def not_locked(self, store: int) -> Steps[Result | None]:
        """Called after the lock timeout. Goes on without the lock, which only saves grants."""
        yield LockTimedOut(store)
        return None

    def _wait(self, tries: int) -> Steps[tuple[float, bool] | None]:
        """Seconds to wait for a lock and whether this is the last try; None to stop trying.

        If no caller waits, there is one try, and the renewal is put off until the token is overdue.
        If a caller waits or the token is overdue, the wait is cut into slices of a second, and the
        store is loaded between them. Jitter keeps siblings from giving up together behind a stuck
        holder.
        """
        now = yield Now()
        if not (self.request.blocking or self._overdue(now)):
            return (0.0, False) if tries == 0 else None
        since = self._blocked_since()
        left = since + self.jittered(self.plan.lock_timeout) - now.boot
        if left > LOCK_POLL_INTERVAL:
            return LOCK_POLL_INTERVAL, False
        return max(0.0, left), True

    def _blocked_since(self) -> float:
        """When the wait for the lock began; tries of long ago do not count."""
        snapshot, start = self.request.snapshot, self.request.start
        if snapshot.blocked_since is None:
            return start.boot
        idle = start.boot - snapshot.due_at.boot
        return start.boot if idle > 2 * LOCK_POLL_INTERVAL else snapshot.blocked_since

    def _overdue(self, now: Instant) -> bool:
        token = self.request.snapshot.token
        fraction, policy = self.plan.jitter_fraction, self.plan.policy
        return token is None or policy.overdue_at(token, jitter_fraction=fraction).reached(now)

    def _load_and_check(self, store: int) -> Steps[Result | None]:
        """Load `store`, and the farther stores before a token in it is adopted.

        A sibling on another machine may have revoked or replaced that token.
        """
        yield from self._load(store)
        if self._stored[store].token is not None:
            for farther in range(store + 1, self.plan.stores):
                yield from self._load(farther)
        return (yield from self._result_if_found(store))

    def _load(self, store: int) -> Steps[None]:
        entry = yield Load(store)
        self._stored[store] = entry or NOTHING
        self.known = join_at(self.known, self._stored[store], (yield OrderingTime()))

    def save(self, store: int) -> Steps[bool]:
        """Save what is known, if it is new to `store`. True if the store has it now."""
        if not adds(self.known, self._stored.get(store, NOTHING)):
            return True
        joined = yield Save(store, self.known)
        if joined is None:
            return False
        # another process may have saved a revocation meanwhile
        self._stored[store] = joined
        self.known = join(self.known, joined)
        return True

    # -- what is found -----------------------------------------------------------------------------

    def _result_if_found(self, store: int) -> Steps[Result | None]:
        """A result, if something in `known` makes a request unnecessary."""
        now = yield Now()
        token = yield from self._adoptable(now)
        failure = yield from self._binding_failure(now)
        if token is None and failure is None:
            return None
        holders = (each for each, entry in self._stored.items() if entry.token == token)
        source = store if token is None else next(holders, store)
        return (yield from self.result(Source.STORE, token=token, failure=failure, store=source))

    def _adoptable(self, now: Instant) -> Steps[Token | None]:
        token = self.known.token
        if token is None or not self._serves(token, now):
            return None
        adopted = yield MayAdopt(self.credentials, token)
        return token if adopted else None

    def _serves(self, token: Token, now: Instant) -> bool:
        policy, request = self.plan.policy, self.request
        if not policy.usable(token, now):
            return False
        if request.rejected is not None:
            return token.value != request.rejected.value
        if request.force:
            return token.issued_since(request.start)
        due_at = policy.due_at(token, jitter_fraction=self.plan.jitter_fraction)
        return not due_at.reached(now) or not request.snapshot.usable(now)

    def _binding_failure(self, now: Instant) -> Steps[Failure | None]:
        """The failure in `known` that forbids a request: an outage or our own refusal."""
        known, policy = self.known, self.plan.policy
        if self.request.force:
            return None
        if any(policy.in_force(each, known.token, now) for each in known.refusals):
            refusal = known.refusal_of((yield from self.hash()))
            if refusal is not None and policy.in_force(refusal, known.token, now):
                return replace(refusal, credentials_hash=self.credentials.fingerprint)
        outage = known.outage
        return outage if outage and policy.in_force(outage, known.token, now) else None

    def _remembered_refusal(self) -> Steps[Result | None]:
        """A result if these credentials were refused before. Needs neither lock nor store."""
        if self.request.rejected is not None:
            return None
        now = yield Now()
        own = self._own_failure(now)
        if own is None or not own.refused:
            return None
        return (yield from self.result(Source.REMEMBERED, failure=own))

    def _own_failure(self, now: Instant) -> Failure | None:
        """The failure that the manager is waiting out, if it concerns these credentials."""
        snapshot, own = self.request.snapshot, self.request.snapshot.failure
        if own is None or self.request.force:
            return None
        if own.refused and own.credentials_hash != self.credentials.fingerprint:
            return None
        return own if self.plan.policy.in_force(own, snapshot.token, now) else None

    # -- the request -------------------------------------------------------------------------------

    def _ask(self) -> Steps[Result]:
        now = yield Now()
        own = self._own_failure(now)
        if own is not None:
            return (yield from self.result(Source.REMEMBERED, failure=own))
        if (floor := self._floor(now)) > 0:
            yield Sleep(floor)
        return (yield from self.exchange())

    def _floor(self, now: Instant) -> float:
        """Seconds to wait, so that tokens which expire at once do not cause a storm of grants."""
        latest = self.known.token
        if latest is None or latest.issued_boot is None or self.request.force:
            return 0.0
        wait = latest.issued_boot + GRANT_FLOOR - now.boot
        return wait if wait <= GRANT_FLOOR else 0.0
