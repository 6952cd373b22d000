"""Simulated processes, machines, stores, locks and clocks, one step of one actor at a time."""

from __future__ import annotations

import functools
import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from evertoken.core.effects import (
    Effect,
    Hash,
    Hold,
    Load,
    Lock,
    MayAdopt,
    NewSalt,
    Now,
    OrderingTime,
    Plan,
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
from evertoken.core.instant import Instant
from evertoken.core.state import EMPTY, Snapshot
from evertoken.errors import GrantUnavailable, TokenError
from interleavings.scenario import (
    ALICE,
    BOB,
    DEADLINE,
    JUMP,
    LATENCY,
    LEASE,
    LOCK_TIMEOUT,
    PAUSE,
    ROTATED,
    START,
    WRONG,
    Fault,
    Scenario,
    key_of,
)
from interleavings.server import Credentials, Server, Violation, owner_of, password_of

if TYPE_CHECKING:
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.token import Token, TokenKey

SHARED = 1
"""The number of the shared store; 0 is the memory of the process."""

FRACTIONS = (0.0, 0.4, 0.8, 0.95, 0.99)
"""Of jitter, so that no two processes give up behind a stuck lock at the same moment."""


@dataclass(frozen=True)
class Unlock:
    """The locks of a renewal are released. Result: None."""


@dataclass(frozen=True)
class Call:
    """A call begins, with so many `left` in its thread. Result: now.

    What its thread read of the clock before has no effect.
    """

    left: int


@dataclass(frozen=True)
class Begin:
    """A renewal begins: until it ends its clock is the request's, moved on. Result: the request."""

    request: RenewalRequest


@dataclass(frozen=True)
class Wait:
    """Wait for the renewal of this process that another actor drives. Result: None."""


@dataclass(frozen=True)
class Named:
    """From now on this thread loads and saves what is of this identity. Result: the identity."""

    key: TokenKey


@dataclass(frozen=True)
class Whose:
    """Of whom this thread loads and saves. Result: `TokenKey | None`; None before it is known."""


Step = Effect | Unlock | Call | Begin | Wait | Named | Whose
Actions = Generator[Step, Any, None]

Place = tuple[int, str]
"""The number of a shared store, and whose entry or lock it is there."""


@dataclass(eq=False)
class Process:
    """One process: what its manager holds, and its memory."""

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
        """Whose token it holds, or would ask for."""
        return self.snapshot.key or key_of(self.username)

    def memory(self, key: TokenKey) -> Entry:
        """What it keeps of this identity."""
        return self.memories.get(key, NOTHING)

    def remember(self, key: TokenKey, entry: Entry) -> None:
        """Keep `entry`, whatever was kept before."""
        self.memories = {**self.memories, key: entry}


@dataclass(eq=False)
class Actor:
    """One thread of a process: the generator that it drives, and the effect that comes next."""

    number: int
    process: Process
    steps: Actions
    pending: Step | None = None
    since: float = 0.0
    answer: object = None
    answered: bool = False
    heard: list[object] = field(default_factory=list)
    """What it has read and was told since its state was last asked for."""
    history: int = 0
    """A hash of all that came before: with it, it is known where its generator stands."""
    start: tuple[Instant, float] | None = None
    """The reading that a renewal began with, and when that was."""
    key: TokenKey | None = None
    """Of whom it loads and saves: what its last reading of the credentials said."""

    def state(self) -> object:
        """Tells this state from others."""
        for each in self.heard:
            self.history = hash((self.history, _hashable(each)))
        self.heard.clear()
        coming = self.pending, _hashable(self.answer), self.answered, self.since
        return self.number, self.process.number, self.history, self.key, coming


@dataclass(eq=False)
class World:
    """Everything. `path` has the choice of each step, `trace` a line for it if `verbose`."""

    scenario: Scenario
    time: float = 0.0
    offsets: list[float] = field(default_factory=lambda: [0.0, 0.0])
    server: Server = field(default_factory=Server)
    entries: dict[Place, Entry] = field(default_factory=dict)
    locks: dict[Place, tuple[int, float]] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    seen: dict[int, tuple[Entry, float, Entry]] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    path: list[tuple[int, Fault | None]] = field(default_factory=list)
    verbose: bool = False
    spawned: int = 0
    excused: int = 0
    """How many grants the faults so far may have cost."""

    # -- clocks and places -------------------------------------------------------------------------

    def now(self, process: Process) -> Instant:
        """Both clocks of the process's machine."""
        wall = START + self.offsets[process.machine] + self.time
        return Instant(wall, 1000.0 + 500.0 * process.machine + self.time)

    def ordering_time(self, process: Process) -> float:
        """The clock by which generations are counted: that of Redis where it is shared."""
        if self.scenario.shared == "redis":
            return START + self.time
        return self.now(process).wall

    def plan(self, process: Process) -> Plan:
        """How the manager of `process` renews."""
        policy, exclusive = self.scenario.policy, self.scenario.exclusive
        return plan_of(process.number, policy, exclusive=exclusive)

    def place(self, process: Process, key: TokenKey) -> Place:
        """Where this process finds what is shared of `key`."""
        store = process.machine if self.scenario.shared == "file" else 0
        return store, key.username or ""

    def identity(self, actor: Actor) -> TokenKey:
        """Of whom `actor` loads and saves."""
        return actor.key or actor.process.key

    # -- what can happen next ----------------------------------------------------------------------

    def runnable(self) -> list[Actor]:
        """The actors that can go on; time passes only when nobody can."""
        if not self.actors:
            return []
        times = {actor: self._ready_at(actor) for actor in self.actors}
        self.time = max(self.time, min(times.values()))
        if self.time == math.inf:
            raise Violation("nobody can go on, and nobody waits for time")
        ready = [actor for actor in times if times[actor] <= self.time]
        for actor in ready:
            if actor.answered:
                # an answer that arrives concerns its actor alone: it commutes with all other steps
                return [actor]
        return ready

    def _ready_at(self, actor: Actor) -> float:
        effect, ready = actor.pending, actor.since
        if actor.answered:
            ready += LATENCY
        elif type(effect) is Sleep:
            ready += effect.seconds
        elif type(effect) is Wait:
            ready = math.inf if actor.process.renewing else ready
        elif type(effect) is Lock and effect.store == SHARED:
            holder = self.locks.get(self.place(actor.process, self.identity(actor)))
            if holder is not None:
                ready = min(ready + effect.timeout, max(ready, holder[1]))
        return max(ready, actor.process.frozen_until)

    # -- one step ----------------------------------------------------------------------------------

    def spawn(self, process: Process, steps: Actions) -> Actor:
        """A new actor, advanced to its first effect."""
        actor = Actor(self.spawned, process, steps, heard=[self.time, process.snapshot])
        self.spawned += 1
        self.actors.append(actor)
        self._advance(actor, None)
        return actor

    def step(self, actor: Actor, fault: Fault | None = None) -> None:
        """Perform the effect that `actor` waits for, with a fault or without."""
        effect = actor.pending
        if actor.answered:
            actor.answered = False
            result = actor.answer
        elif type(effect) is Request:
            # sent now; the answer arrives later, and may meet a crash or a pause on its way
            actor.answer = self._sent(actor, effect, fault)
            actor.answered, actor.since = True, self.time
            self._note(actor, effect, fault, "sent")
            return
        else:
            result = self._perform(actor, effect, fault)
        self._note(actor, effect, fault, result)
        self._advance(actor, result)

    def _advance(self, actor: Actor, result: object) -> None:
        """Go on to the next effect that others can notice."""
        while True:
            actor.heard.append(result)
            try:
                effect = actor.steps.send(result)
            except StopIteration:
                self.actors.remove(actor)
                return
            if type(effect) in _NOTICED and getattr(effect, "store", SHARED) == SHARED:
                actor.pending, actor.since = effect, self.time
                return
            result = self._private(actor, effect)

    def _private(self, actor: Actor, effect: Step) -> object:  # noqa: PLR0911  one for each effect
        """Perform what concerns this process alone."""
        process, kind = actor.process, type(effect)
        if kind is Now:
            return self._moved_on(actor)
        if kind is OrderingTime:
            return self.ordering_time(process)
        if isinstance(effect, Load):
            return process.memory(self.identity(actor))
        if isinstance(effect, Save):
            return self._keep(process, self.identity(actor), effect.entry)
        if isinstance(effect, MayAdopt):
            return self.may_adopt(process, effect.token)
        if kind is ReadCredentials:
            return self._read(actor)
        if isinstance(effect, Hash):
            return self.hash(process, effect.reading)
        if isinstance(effect, Call | Begin | Named | Whose):
            return self._noted(actor, effect)
        return {Lock: Hold.HELD, NewSalt: b"salt"}.get(kind)

    def _moved_on(self, actor: Actor) -> Instant:
        """The reading that a renewal began with, moved on; else the clocks."""
        if actor.start is None:
            return self.now(actor.process)
        start, time = actor.start
        return start.after(self.time - time)

    def _noted(self, actor: Actor, effect: Call | Begin | Named | Whose) -> object:
        """What a thread keeps for itself."""
        if isinstance(effect, Call):
            actor.heard, actor.history = [effect], 0
            return self.now(actor.process)
        if isinstance(effect, Begin):
            actor.start = effect.request.start, self.time
            return effect.request
        if isinstance(effect, Named):
            actor.key = effect.key
        return actor.key

    def _read(self, actor: Actor) -> Reading | TokenError:
        process = actor.process
        if process.unreadable:
            actor.key = None
            return GrantUnavailable(f"{process.username}: no password can be read", local=True)
        actor.key = key_of(process.username)
        credentials = Credentials(process.username, process.password)
        return reading_of(credentials, exclusive=self.scenario.exclusive)

    def hash(self, process: Process, reading: Reading) -> bytes:
        """The hash of the credentials that were read, whatever the process has by now."""
        del process
        return b"hash of " + reading.fingerprint

    def _keep(self, process: Process, key: TokenKey, entry: Entry) -> Entry:
        joined = join_at(process.memory(key), entry, self.ordering_time(process))
        check_owner(joined, key)
        process.remember(key, joined)
        return joined

    def may_adopt(self, process: Process, token: Token) -> bool:
        """Between processes the store is the boundary; a wrong password gets nothing here."""
        return token.value in process.owned or password_of(token.value) == process.password

    def _sent(self, actor: Actor, effect: Request, fault: Fault | None) -> Token | TokenError:
        credentials, spent = effect.reading.credentials, effect.refresh_token
        assert isinstance(credentials, Credentials)
        spender = self.server.spent.get(spent or "")
        holder = self.locks.get(self.place(actor.process, effect.reading.key), (None, 0.0))
        # no lock keeps a process from freezing between the last look at it and the request
        frozen = actor.process.frozen_until > actor.since
        if spender not in {None, actor.number} and spender == holder[0] and not frozen:
            raise Violation(f"{spent} was spent twice while its lock held")
        username = credentials.username
        if fault is Fault.PASSING:
            return GrantUnavailable(f"{username}: no such page", status=404, transient=True)
        answer = self.server.answer(credentials, spent, self.time, actor.number)
        if fault is Fault.LOST:
            return GrantUnavailable(f"{username}: the answer was lost", transient=True)
        return answer

    def _perform(self, actor: Actor, effect: Step | None, fault: Fault | None) -> object:
        process, key = actor.process, self.identity(actor)
        if isinstance(effect, Lock):
            return self._lock(actor, effect, away=fault is Fault.AWAY)
        if isinstance(effect, Load):
            return None if fault is Fault.AWAY else self.loaded(process, key)
        if isinstance(effect, Save):
            if fault is Fault.AWAY:
                return None
            joined = self._save(process, key, effect.entry)
            return None if fault is Fault.LOST else joined
        if isinstance(effect, StillHeld):
            return self.locks.get(self.place(process, key), (None, 0.0))[0] == actor.number
        if isinstance(effect, Revoke):
            self.server.revoked.add(effect.token.value)
        if isinstance(effect, Unlock):
            self._unlock(actor)
        return None

    # -- the shared store --------------------------------------------------------------------------

    def _lock(self, actor: Actor, effect: Lock, *, away: bool) -> Hold:
        place = self.place(actor.process, self.identity(actor))
        if away:
            return Hold.ABSENT if effect.timeout else Hold.BUSY
        holder = self.locks.get(place)
        if holder is not None and holder[1] > self.time:
            return Hold.BUSY
        lease = self.time + LEASE if self.scenario.shared == "redis" else math.inf
        self.locks[place] = actor.number, lease
        return Hold.HELD

    def _unlock(self, actor: Actor) -> None:
        actor.start = None
        for place in [each for each, holder in self.locks.items() if holder[0] == actor.number]:
            del self.locks[place]

    def loaded(self, process: Process, key: TokenKey) -> Entry:
        """What the shared store holds of `key`, on the clocks of this process."""
        return self._received(self.entries.get(self.place(process, key), NOTHING), process)

    def store(self, process: Process, key: TokenKey, entry: Entry) -> None:
        """Put `entry` into the shared store as that of `key`, whatever it held."""
        check_owner(entry, key)
        self.entries[self.place(process, key)] = self._sent_out(entry, process)

    def _save(self, process: Process, key: TokenKey, entry: Entry) -> Entry:
        place = self.place(process, key)
        held = self.entries.get(place, NOTHING)
        joined = join_at(held, self._sent_out(entry, process), self.ordering_time(process))
        check_owner(joined, key)
        if joined.revoked_through < held.revoked_through:
            raise Violation("a revocation was lost")
        before = -1 if held.token is None else held.token.generation
        after = joined.revoked_through if joined.token is None else joined.token.generation
        if after < before:
            raise Violation("a newer token was lost to an older one")
        self.entries[place] = joined
        return self._received(joined, process)

    def _sent_out(self, entry: Entry, process: Process) -> Entry:
        """`entry` on the clock of Redis: what travels is the age, by the clock nobody can set."""
        if self.scenario.shared == "file":
            return entry
        now = self.now(process)

        def moment(wall: float, boot: float | None) -> float:
            return self.time - (now.wall - wall if boot is None else now.boot - boot)

        token = entry.token
        if token is not None:
            at = moment(token.issued_at, token.issued_boot)
            until = at + token.lifetime
            token = replace(token, issued_at=at, expires_at=until, issued_boot=None)
        failures = []
        for each in entry.failures:
            at = moment(each.at, each.at_boot)
            failures.append(replace(each, at=at, until=at + each.until - each.at, at_boot=None))
        return replace(entry, token=token, failures=tuple(failures))

    def _received(self, entry: Entry, process: Process) -> Entry:
        """`entry` from the clock of Redis, on the clocks of this process."""
        if self.scenario.shared == "file" or entry is NOTHING:
            return entry
        offset = self.offsets[process.machine]
        seen = self.seen.get(process.machine)
        if seen is None or seen[0] is not entry or seen[1] != offset:
            seen = entry, offset, received(entry, START + offset, 1000 + 500.0 * process.machine)
            self.seen[process.machine] = seen
        return seen[2]

    # -- faults ------------------------------------------------------------------------------------

    def disturb(self, actor: Actor, fault: Fault) -> None:
        """What happens to the process of `actor` before its next step."""
        process = actor.process
        if fault is Fault.CRASH:
            self._crash(process)
        elif fault is Fault.PAUSE:
            process.frozen_until = self.time + PAUSE
        elif fault in {Fault.BACK, Fault.AHEAD}:
            machine = process.machine
            self.offsets[machine] += JUMP if fault is Fault.AHEAD else -JUMP
            here = [each for each in self.processes if each.machine == machine]
            self.excused += sum(each.renewing for each in here)
            # each identity has a token of its own
            self.excused += len({each.username for each in here}) - 1
        elif fault is Fault.ROTATE:
            self.server.valid = ROTATED
            for each in self.processes:
                each.password = ROTATED if each.password != WRONG else each.password
        elif fault is Fault.UNREADABLE:
            process.unreadable = True
        elif fault is Fault.RENAME:
            process.username = BOB
        self._note(actor, None, fault, "")

    def _crash(self, process: Process) -> None:
        process.alive = False
        for actor in [each for each in self.actors if each.process is process]:
            self.actors.remove(actor)
            if self.scenario.shared == "file":
                # the system releases it; in Redis the lease has to end
                self._unlock(actor)

    # -- reading a run -----------------------------------------------------------------------------

    def _note(self, actor: Actor, effect: object, fault: Fault | None, result: object) -> None:
        if not self.verbose:
            return
        what = "" if effect is None else type(effect).__name__
        wrong = "" if fault is None else f" [{fault.name.lower()}]"
        told = result.value if isinstance(result, Hold) else result
        line = f"{self.time:7.2f} s  process {actor.process.number}: {what}{wrong}  {told!s:.90}"
        self.trace.append(line)

    def state(self) -> int:
        """Tells this state from others: two ways to it need not both be followed."""
        actors = tuple(each.state() for each in self.actors)
        processes = tuple(
            (
                each.machine,
                each.snapshot,
                tuple((key.username, entry) for key, entry in each.memories.items()),
                each.username,
                each.unreadable,
                each.frozen_until,
                each.alive,
                each.renewing,
                each.password,
                each.owned,
                tuple(each.dead_through.items()),
                tuple(each.revoked_before.items()),
                each.served,
                each.arrived,
                each.outcomes,
            )
            for each in self.processes
        )
        places = tuple(sorted(self.entries.items())), tuple(sorted(self.locks.items()))
        clocks = self.time, tuple(self.offsets)
        return hash(
            (
                actors,
                processes,
                places,
                clocks,
                self.server.state(),
                tuple(self.faults),
                self.excused,
            )
        )


@functools.cache
def plan_of(number: int, policy: RefreshPolicy, *, exclusive: bool) -> Plan:
    """How a manager renews; jitter lets siblings give up one after another."""
    return Plan(
        stores=2,
        policy=policy,
        lock_timeout=LOCK_TIMEOUT,
        deadline=DEADLINE,
        jitter_fraction=FRACTIONS[number],
        exclusive=exclusive,
    )


@functools.cache
def reading_of(credentials: Credentials, *, exclusive: bool) -> Reading:
    """One reading of `credentials`."""
    username = credentials.username
    first = "refresh-0" if username == ALICE else "refresh-0 of another"
    initial = first if exclusive else None
    return Reading(key_of(username), credentials.fingerprint, credentials, initial)


def received(entry: Entry, wall: float, boot: float) -> Entry:
    token = entry.token
    if token is not None:
        at = token.issued_at
        until = token.expires_at + wall
        token = replace(token, issued_at=at + wall, expires_at=until, issued_boot=at + boot)
    failures = tuple(
        replace(each, at=each.at + wall, until=each.until + wall, at_boot=each.at + boot)
        for each in entry.failures
    )
    return replace(entry, token=token, failures=failures)


def _hashable(told: object) -> object:
    return repr(told) if isinstance(told, TokenError) else told


def check_owner(entry: Entry, key: TokenKey) -> None:
    """What is known of one identity is never found under another."""
    whose = [str(failure.error).partition(":")[0] for failure in entry.failures]
    if entry.token is not None:
        whose.append(owner_of(entry.token.value))
    if not {key.username}.issuperset(whose):
        raise Violation(f"what is of {' and '.join(whose)} was saved as {key.username}'s")


_NOTICED = frozenset({Lock, Load, Save, Request, StillHeld, Revoke, Sleep, Unlock, Wait})
