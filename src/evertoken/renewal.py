"""One renewal across threads, processes and machines: lock, look again, adopt or grant, save."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evertoken import clock, credentials, policy
from evertoken.demand import BUSY, GRANT, OWN, Demand, Outcome, later_of
from evertoken.errors import GrantRefused, TokenError, capture
from evertoken.ports import name_of
from evertoken.token import Refusal, Token, token_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evertoken.claim import Claim
    from evertoken.credentials import Credentials
    from evertoken.instant import Instant
    from evertoken.policy import RefreshPolicy
    from evertoken.ports import TokenStore
    from evertoken.token import Entry

_log = logging.getLogger("evertoken")

LOCK_SLICE = 1.0
"""Seconds of waiting for a lock after which the store is looked at again."""

FIRST_TRIES = 3
"""Requests of a renewal that somebody waits for with no token at all."""

FIRST_PAUSE = 0.2
"""Seconds between the first two of them; it doubles."""

LAST_TRY = 1.0
"""Seconds after the first within which the last of them is sent.

So much longer than the grant's own deadline the lock is held at most, and callers wait: who hung
once is not asked to hang again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """How a manager renews: its stores near to far, its claim on them, and its rules.

    Attributes:
        patience: seconds to wait for a lock before going on without it.
        draw: this process's lot in [0, 1), for jitter.
    """

    claim: Claim
    stores: Sequence[TokenStore]
    policy: RefreshPolicy
    patience: float
    draw: float

    def run(self, demand: Demand) -> Outcome:
        """Renew once. Raises nothing: a failure is an `Outcome` with a refusal."""
        outcome = capture(lambda: self._attempt(demand))
        if isinstance(outcome, TokenError):
            # the credentials could not be read, so none can have been refused
            before = demand.last_failure
            failures = 1 if before is None else before.failures + 1
            refusal = self.refusal(outcome, demand, failures=failures)
            outcome = Outcome(entry=refusal, source=GRANT)
        return replace(outcome, seconds=clock.since_boot() - demand.start.boot)

    def refusal(self, error: TokenError, demand: Demand, *, failures: int) -> Refusal:
        """What is remembered of `error`, the last of so many failures."""
        now = clock.elapsed(demand.start)
        refused = is_verdict(error)
        pause = self.policy.backoff(error, failures=failures, refused=refused, draw=self.draw)
        return Refusal(
            refused_at=now.wall,
            until=now.wall + pause,
            error=error,
            failures=failures,
            # also one that others had: a store keeps no refusal that would cost it a later token
            token=later_of(demand.snapshot.token, demand.latest),
            # siblings have to learn of a dead token even if its successor could not be had
            forgets=demand.forgets,
            refused_boot=now.boot,
        )

    def _attempt(self, demand: Demand) -> Outcome:
        found = credentials.read(self.claim.grant)
        attempt = Attempt(self, found, self.claim.identified(found))
        return replace(attempt.run(demand.of(found.key)), identity=found.key)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One renewal with credentials that were read once, before any lock.

    Attributes:
        rules: how the manager renews.
        credentials: what is posted, and what a refusal remembers.
        fingerprint: by which the owner of a token recognises them.
    """

    rules: Renewal
    credentials: Credentials
    fingerprint: bytes | None

    def run(self, demand: Demand) -> Outcome:
        """Adopt or grant; a failure is an `Outcome` with a refusal."""
        outcome = self._through(self.rules.stores, demand)
        entry = outcome.entry
        if isinstance(entry, Refusal) and entry.token is not None and not self._admits():
            # it lives on in the stores, for the credentials that it belongs to
            outcome = replace(outcome, entry=replace(entry, token=None))
        return outcome

    def _through(self, stores: Sequence[TokenStore], demand: Demand) -> Outcome:
        """Near to far, the only order of locks; what is found or granted is saved far to near."""
        if not stores:
            return self._ask(demand)
        store, *farther = stores
        name = name_of(store)
        key = self.credentials.key
        for wait, last in self._waits(demand):
            with store.lock(key, timeout=wait) as held:
                entry = self._current(store, farther)
                if (found := self._adoptable(entry, demand)) is not None:
                    return Outcome(entry=found, source=name)
                if not (held or last):
                    continue
                if not held:
                    _log.warning("the lock of the %s store was not had in time: no waiting", name)
                outcome = self._through(farther, demand.knowing(entry))
                if outcome.entry is not None and outcome.shared and outcome.source != OWN:
                    store.save(key, outcome.entry)
                return outcome
        return BUSY

    def _current(self, store: TokenStore, farther: Sequence[TokenStore]) -> Entry | None:
        """What `store` holds, but no token that siblings have revoked or replaced since.

        A successor takes its place at once: were it forgotten first, a look in between would make
        callers wait that have a usable token, and siblings would queue up for the farther lock.
        """
        key = self.credentials.key
        entry = store.load(key)
        token = token_of(entry)
        now = clock.now()
        shared = [] if token is None else [other.load(key) for other in farther]
        if token is None or not any(_ends(other, token, now) for other in shared):
            return entry
        for successor in filter(None, map(token_of, shared)):
            store.save(key, successor)
        if token_of(current := store.load(key)) != token:
            return current
        store.forget(key, token)
        return store.load(key)

    def _waits(self, demand: Demand) -> Iterator[tuple[float, bool]]:
        """Seconds to wait for a lock, and whether to go on without it after that.

        Where nobody waits there is one try, and no renewal without the lock as long as there is
        time to look again. Else there are slices, between which a token that a sibling saved is
        seen. Jitter keeps siblings from giving up together behind a stuck holder.
        """
        if not (demand.urgent or self._overdue(demand)):
            yield 0.0, False
            if not self._overdue(demand):
                return
        blocked = demand.snapshot.blocked_since
        since = demand.start.boot if blocked is None else blocked
        rules = self.rules
        give_up = since + rules.patience * (1 + rules.policy.jitter * rules.draw)
        while (left := give_up - clock.since_boot()) > LOCK_SLICE:
            yield LOCK_SLICE, False
        yield max(0.0, left), True

    def _overdue(self, demand: Demand) -> bool:
        token = demand.snapshot.token
        if token is None:
            return True
        return self.rules.policy.overdue_at(token, draw=self.rules.draw).reached(
            clock.elapsed(demand.start)
        )

    def _adoptable(self, entry: Entry | None, demand: Demand) -> Entry | None:
        """What of `entry` makes a grant needless."""
        now = clock.elapsed(demand.start)
        if isinstance(entry, Refusal) and self._stands(entry, demand, now):
            return entry
        token = token_of(entry)
        serves = token is not None and self._serves(token, demand, now)
        return token if serves and self._admits() else None

    def _admits(self) -> bool:
        """Whether the tokens of this identity are for these credentials."""
        claim, credentials = self.rules.claim, self.credentials
        return claim.memory.admits(
            credentials.key, credentials.source, fingerprint=self.fingerprint, proof=claim.proof
        )

    def _stands(self, refusal: Refusal | None, demand: Demand, now: Instant) -> bool:
        """Whether `refusal` forbids to ask."""
        if refusal is None or demand.force or not policy.stands(refusal, now, self.rules.policy):
            return False
        return self._concerns(refusal)

    def _concerns(self, refusal: Refusal) -> bool:
        """Whether these credentials are those that were refused, if any were."""
        return not refusal.tag or self._tag(refusal.salt) == refusal.tag

    def _serves(self, token: Token, demand: Demand, now: Instant) -> bool:
        rules = self.rules
        if not rules.policy.usable(token, now):
            return False
        if demand.rejected is not None:
            return token.value != demand.rejected.value
        if demand.force:
            return token.issued_since(demand.start)
        due = rules.policy.due_at(token, draw=rules.draw).reached(now)
        return not due or not demand.snapshot.usable(now)

    def _tag(self, salt: bytes) -> bytes:
        tag = capture(lambda: self.credentials.tag(salt))
        return b"" if isinstance(tag, TokenError) else tag

    def _ask(self, demand: Demand) -> Outcome:
        own = demand.snapshot.refusal
        if self._stands(own, demand, clock.elapsed(demand.start)):
            return Outcome(entry=own, source=OWN)
        self._keep_floor(demand)
        answer = self._answer(demand)
        if not isinstance(answer, Token):
            return Outcome(entry=self._refusal(answer, demand), source=GRANT)
        credentials = self.credentials
        # before any store has it: the owner of the last token may be another one
        self.rules.claim.memory.obtained(
            credentials.key, credentials.source, credentials.fingerprint
        )
        return Outcome(entry=answer, source=GRANT)

    def _answer(self, demand: Demand) -> Token | TokenError:
        """Ask once; where nobody has a token, a hiccup of the server costs a pause, not an error.

        After a known failure the back-off rules alone: an outage is not to be asked thrice.
        """
        rules = self.rules
        last = min(clock.since_boot() + LAST_TRY, demand.start.boot + rules.patience)
        for tries in range(1, FIRST_TRIES + 1):
            sent = clock.elapsed(demand.start)
            answer = capture(self.credentials.request)
            if isinstance(answer, Token):
                return _dated(answer, sent)
            pause = max(FIRST_PAUSE * 2 ** (tries - 1), answer.retry_after or 0.0)
            pause *= 1 + rules.policy.jitter * rules.draw
            late = tries == FIRST_TRIES or clock.since_boot() + pause > last
            if late or not (_is_hiccup(answer) and demand.bare):
                break
            clock.sleep(pause)
        return answer

    def _keep_floor(self, demand: Demand) -> None:
        if demand.latest is None or demand.latest.issued_boot is None or demand.force:
            return
        wait = demand.latest.issued_boot + policy.GRANT_FLOOR - clock.since_boot()
        if 0 < wait <= policy.GRANT_FLOOR:
            clock.sleep(wait)

    def _refusal(self, error: TokenError, demand: Demand) -> Refusal:
        refused = is_verdict(error)
        failures = self._failures_before(demand, refused=refused) + 1
        refusal = self.rules.refusal(error, demand, failures=failures)
        if not refused:
            return refusal
        salt = os.urandom(16)
        return replace(refusal, salt=salt, tag=self._tag(salt))

    def _failures_before(self, demand: Demand, *, refused: bool) -> int:
        """How many led here; other credentials than those refused before start anew."""
        before = demand.last_failure
        if before is None or (refused and not self._concerns(before)):
            return 0
        return before.failures


def is_verdict(error: TokenError) -> bool:
    """Whether the server has judged the credentials; a callable may raise anything it likes."""
    return isinstance(error, GrantRefused) and not error.local


def _is_hiccup(error: TokenError) -> bool:
    """Whether the same request is worth repeating at once.

    A 4xx without a verdict passes too, but it may also be how a server says that the password is
    wrong: repeating it at once could lock the account.
    """
    unanswered = error.status is None or error.status >= 500  # noqa: PLR2004  server errors
    return error.transient and (unanswered or error.status in {408, 425, 429})


def _ends(entry: Entry | None, token: Token, now: Instant) -> bool:
    """Whether by the word of a farther store `token` is dead, or no longer the last one."""
    if isinstance(entry, Refusal) and entry.ends(token, now):
        return True
    shared = token_of(entry)
    return shared is not None and shared.value != token.value and shared.later_than(token)


def _dated(token: Token, sent: Instant) -> Token:
    """`token` with its age counted from before its request, on the clocks of the caller."""
    return replace(
        token,
        issued_at=sent.wall,
        expires_at=sent.wall + token.lifetime,
        issued_boot=sent.boot,
    )
