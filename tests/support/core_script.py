"""A scripted world for a generator of effects: a test sets its stores, locks and answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from evertoken.core.effects import (
    Effect,
    Hash,
    Hold,
    InitialRefused,
    Load,
    Lock,
    LockTimedOut,
    LoginUnsaved,
    MayAdopt,
    NewSalt,
    Now,
    OrderingTime,
    Plan,
    Publish,
    ReadCredentials,
    Reading,
    RenewalRequest,
    Request,
    Revoke,
    Save,
    Sleep,
    StillHeld,
)
from evertoken.core.entry import NOTHING, Entry, join_at
from evertoken.core.policy import RefreshPolicy
from evertoken.core.protocol import renewal, revocation
from evertoken.core.state import EMPTY
from support.core_values import KEY, NOW, issued

if TYPE_CHECKING:
    from evertoken.core.effects import Steps
    from evertoken.core.instant import Instant
    from evertoken.core.outcome import Result, Revocation
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token
    from evertoken.errors import TokenError

R = TypeVar("R")
POLICY = RefreshPolicy()
READING = Reading(KEY, b"fingerprint", "planted-credentials")


@dataclass
class Script:
    """The results that a generator gets.

    Attributes:
        stores: the entry of each store, near to far.
        answers: the server's answers, in order; afterwards a new token each time.
        holds: the results of locking each store, in order; afterwards the lock is held.
        broken: the stores that fail to save.
        unreadable: the stores that fail to load.
        foreign: the values of tokens that belong to other credentials.
        during: called while a request is in flight.
        latency: seconds that a request takes.
        ahead: seconds by which the clock of the store is ahead.
    """

    stores: list[Entry] = field(default_factory=lambda: [NOTHING])
    answers: list[Token | TokenError] = field(default_factory=list)
    holds: dict[int, list[Hold]] = field(default_factory=dict)
    reading: Reading | TokenError = READING
    broken: set[int] = field(default_factory=set)
    unreadable: set[int] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    revoke_error: TokenError | None = None
    lost_lock: bool = False
    hashed: bytes = b"hash"
    exclusive: bool = False
    fallback: bool = False
    latency: float = 0.0
    ahead: float = 0.0
    during: dict[int, Entry] = field(default_factory=dict)
    now: Instant = NOW
    log: list[Effect] = field(default_factory=list)

    def renew(
        self,
        snapshot: Snapshot = EMPTY,
        *,
        force: bool = False,
        jitter_fraction: float = 0.0,
    ) -> Result:
        """Run one renewal, and return its result."""
        request = RenewalRequest(snapshot=snapshot, start=self.now, force=force)
        return self.run(renewal(self._plan(jitter_fraction), request))

    def revoke(self, snapshot: Snapshot = EMPTY) -> Revocation:
        """Run one revocation, and return its result."""
        return self.run(revocation(self._plan(0.0), snapshot))

    def run(self, steps: Steps[R]) -> R:
        """Perform the effects of `steps` to the end."""
        answer: object = None
        while True:
            try:
                effect = steps.send(answer)
            except StopIteration as end:
                result: R = end.value
                return result
            self.log.append(effect)
            answer = self._perform(effect)

    def names(self) -> list[str]:
        """Short names of the effects, in order."""
        quiet = (Now, OrderingTime, ReadCredentials, MayAdopt, NewSalt)
        return [
            f"{type(each).__name__} {store}" if (store := getattr(each, "store", None)) is not None
            else type(each).__name__
            for each in self.log
            if not isinstance(each, quiet)
        ]  # fmt: skip

    def count(self, kind: type[Effect]) -> int:
        """The number of effects of this kind."""
        return sum(isinstance(each, kind) for each in self.log)

    @property
    def slept(self) -> list[float]:
        """The sleeps, in seconds."""
        return [each.seconds for each in self.log if isinstance(each, Sleep)]

    def _plan(self, jitter_fraction: float) -> Plan:
        return Plan(
            stores=len(self.stores),
            policy=POLICY,
            lock_timeout=15.0,
            deadline=60.0,
            jitter_fraction=jitter_fraction,
            exclusive=self.exclusive,
            fallback=self.fallback,
        )

    def _perform(self, effect: Effect) -> object:  # noqa: C901, PLR0911, PLR0912  one case for each effect
        match effect:
            case ReadCredentials():
                return self.reading
            case Now():
                return self.now
            case OrderingTime():
                return self.now.wall + self.ahead
            case Sleep(seconds):
                self.now = self.now.after(seconds)
            case Lock(store, timeout):
                return self._lock(store, timeout)
            case Load(store):
                return None if store in self.unreadable else self.stores[store]
            case Save(store, entry):
                return self._save(store, entry)
            case Request():
                return self._answer()
            case MayAdopt(_, token):
                return token.value not in self.foreign
            case Hash():
                return self.hashed
            case NewSalt():
                return b"salt"
            case StillHeld():
                return not self.lost_lock
            case Revoke():
                return self.revoke_error
            case LockTimedOut() | InitialRefused() | LoginUnsaved() | Publish():
                pass
        return None

    def _lock(self, store: int, timeout: float) -> Hold:
        holds = self.holds.get(store, [])
        hold = holds.pop(0) if holds else Hold.HELD
        if hold is Hold.BUSY:
            self.now = self.now.after(timeout)
        return hold

    def _save(self, store: int, entry: Entry) -> Entry | None:
        if store in self.broken:
            return None
        self.stores[store] = join_at(self.stores[store], entry, self.now.wall + self.ahead)
        return self.stores[store]

    def _answer(self) -> Token | TokenError:
        self.now = self.now.after(self.latency)
        for store, entry in self.during.items():
            self.stores[store] = join_at(self.stores[store], entry, self.now.wall + self.ahead)
        return self.answers.pop(0) if self.answers else issued(NOW, value="granted", generation=0)
