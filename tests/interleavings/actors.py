"""The actors: processes, and in each of them the threads that drive its generators."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evertoken.core.effects import Effect
from evertoken.core.entry import NOTHING, Entry
from evertoken.core.state import EMPTY, Snapshot
from evertoken.errors import TokenError
from interleavings.scenario import ALICE, key_of

if TYPE_CHECKING:
    from evertoken.core.effects import RenewalRequest
    from evertoken.core.instant import Instant
    from evertoken.core.token import Token, TokenKey


@dataclass(frozen=True)
class Unlock:
    """Release the locks of a renewal. Result: None."""


@dataclass(frozen=True)
class Wait:
    """Wait for the renewal of this process that another actor drives. Result: None."""


Step = Effect | Unlock | Wait
Actions = Generator[Step, Any, None]


@dataclass(eq=False, slots=True)
class Process:
    """One process: its manager's snapshot and its memory."""

    number: int
    machine: int
    password: str
    username: str = ALICE
    unreadable: bool = False
    """Whether its credentials cannot be read."""
    snapshot: Snapshot = EMPTY
    memories: dict[TokenKey, Entry] = field(default_factory=dict)
    """What it keeps for each identity. Replaced, never changed: a fork has a copy."""
    frozen_until: float = -math.inf
    alive: bool = True
    renewing: bool = False
    owned: frozenset[str] = frozenset()
    """The tokens that were granted to this process's credentials, or adopted by them."""
    dead_through: dict[TokenKey, int] = field(default_factory=dict)
    """The newest revocation of each identity that this process has read in the store."""
    revoked_before: dict[TokenKey, float] = field(default_factory=dict)
    """When this process revoked: no token whose request was sent before is handed out."""
    served: Token | None = None
    """The token that it handed out last, until an API refuses it."""
    arrived: tuple[str, float] = ("", 0.0)
    """The newest token it holds, and since when; noted where a token takes time to be accepted."""
    outcomes: tuple[str, ...] = ()
    """What its calls got."""

    @property
    def key(self) -> TokenKey:
        """The identity of its token, or of its credentials."""
        return self.snapshot.key or key_of(self.username)

    def memory(self, key: TokenKey) -> Entry:
        """The entry in its memory for this identity."""
        return self.memories.get(key, NOTHING)

    def remember(self, key: TokenKey, entry: Entry) -> None:
        """Replace the entry in its memory."""
        self.memories = {**self.memories, key: entry}

    def state(self) -> object:
        """A value that identifies this state."""
        return (
            self.machine,
            self.snapshot,
            tuple(self.memories.items()),
            self.username,
            self.unreadable,
            self.frozen_until,
            self.alive,
            self.renewing,
            self.password,
            self.owned,
            tuple(self.dead_through.items()),
            tuple(self.revoked_before.items()),
            self.served,
            self.arrived,
            self.outcomes,
        )


@dataclass(eq=False, slots=True)
class Actor:
    """One thread of a process: the generator that it drives, and the effect that comes next."""

    number: int
    process: Process
    steps: Actions = field(init=False)
    pending: Step | None = None
    ready_at: float = 0.0
    """When it can go on, if nobody is in its way."""
    answer: object = None
    answered: bool = False
    heard: list[object] = field(default_factory=list)
    """What it has read and was told since its state was last asked for."""
    history: int = 0
    """A hash of all that came before: with it, it is known where its generator stands."""
    start: tuple[Instant, float] | None = None
    """The reading that a renewal began with, and when that was."""
    named: TokenKey | None = None
    """Whom its last reading of the credentials named."""

    @property
    def key(self) -> TokenKey:
        """Of whom it loads and saves."""
        return self.named or self.process.key

    def begin_call(self, left: int, now: Instant) -> None:
        """A call begins at `now`, with so many `left`: what was heard before has no effect."""
        self.heard[:] = left, now
        self.history = 0

    def begin_renewal(self, request: RenewalRequest, time: float) -> None:
        """A renewal begins: until it ends the clock of this thread is the request's, moved on."""
        self.heard.append(request)
        self.start = request.start, time

    def state(self) -> object:
        """A value that identifies this state."""
        for each in self.heard:
            self.history = hash((self.history, _hashable(each)))
        self.heard.clear()
        coming = self.pending, _hashable(self.answer), self.answered, self.ready_at
        return self.number, self.process.number, self.history, self.named, coming


def _hashable(told: object) -> object:
    return repr(told) if isinstance(told, TokenError) else told
