"""Simulated processes and clocks: one step of one actor at a time."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evertoken.core.effects import (
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
    Request,
    Revoke,
    Save,
    Sleep,
    StillHeld,
)
from evertoken.core.entry import join_at
from evertoken.core.instant import Instant
from evertoken.errors import GrantUnavailable
from interleavings import real_grant
from interleavings.actors import Actor, Process, Unlock, Wait
from interleavings.scenario import (
    ALICE,
    BOB,
    DEADLINE,
    JUMP,
    LATENCY,
    LOCK_TIMEOUT,
    PAUSE,
    ROTATED,
    START,
    WRONG,
    Fault,
    Scenario,
    key_of,
)
from interleavings.server import Credentials, Server, Violation, password_of
from interleavings.shared_store import SharedStore, check_owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.entry import Entry
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.token import Token, TokenKey
    from evertoken.errors import TokenError
    from interleavings.actors import Actions

MEMORY, SHARED = 0, 1
"""The numbers of the stores: the memory of the process, and what processes share."""

FRACTIONS = (0.0, 0.4, 0.8, 0.95, 0.99)
"""The jitter fractions, so that no two processes give up behind a stuck lock together."""


@dataclass(eq=False)
class World:
    """The simulated world. `path` has the choice of each step, `trace` its text if `verbose`."""

    scenario: Scenario
    time: float = 0.0
    offsets: list[float] = field(default_factory=lambda: [0.0, 0.0])
    server: Server = field(default_factory=Server)
    shared: SharedStore = field(init=False)
    processes: list[Process] = field(default_factory=list)
    actors: dict[int, Actor] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    path: list[tuple[int, Fault | None]] = field(default_factory=list)
    verbose: bool = False
    spawned: int = 0
    excused: int = 0
    """How many grants the faults so far may have cost."""

    def __post_init__(self) -> None:
        self.shared = SharedStore(self.scenario.shared == "redis")

    # -- clocks ------------------------------------------------------------------------------------

    def now(self, process: Process) -> Instant:
        """Both clocks of the process's machine."""
        wall = START + self.offsets[process.machine] + self.time
        return Instant(wall, 1000.0 + 500.0 * process.machine + self.time)

    def ordering_time(self, process: Process) -> float:
        """The clock for generations: Redis's, if that is shared."""
        offset = 0.0 if self.shared.redis else self.offsets[process.machine]
        return START + offset + self.time

    def plan(self, process: Process) -> Plan:
        """The plan of the manager of `process`."""
        policy, exclusive = self.scenario.policy, self.scenario.exclusive
        return plan_of(process.number, policy, exclusive=exclusive)

    # -- what can happen next ----------------------------------------------------------------------

    def runnable(self) -> list[Actor]:
        """The actors that can continue. Time passes only if none can."""
        soonest, ready = math.inf, list[Actor]()
        for actor in self.actors.values():
            at = max(self.ready_at(actor), self.time)
            if at < soonest:
                soonest, ready = at, [actor]
            elif at == soonest:
                ready.append(actor)
        if soonest < math.inf:
            self.time = soonest
        elif self.actors:
            raise Violation("nobody can go on, and nobody waits for time")
        for actor in ready:
            if actor.answered:
                # the arrival of an answer concerns only its actor, so it commutes with all other
                # steps
                return [actor]
        return ready

    def ready_at(self, actor: Actor) -> float:
        """When `actor` can continue, as far as is known now."""
        process, effect, ready = actor.process, actor.pending, actor.ready_at
        if type(effect) is Wait and process.renewing:
            return math.inf
        if type(effect) is Lock:
            holder = self.shared.holder(process, actor.key)
            if holder is not None:
                ready = min(ready + effect.timeout, max(ready, holder[1]))
        return max(ready, process.frozen_until)

    # -- one step ----------------------------------------------------------------------------------

    def spawn(self, process: Process, actions: Callable[[World, Actor], Actions]) -> None:
        """A new actor, advanced to its first effect."""
        actor = Actor(self.spawned, process, heard=[self.time, process.snapshot])
        actor.steps = actions(self, actor)
        self.actors[actor.number] = actor
        self.spawned += 1
        self._advance(actor, None)

    def step(self, actor: Actor, fault: Fault | None = None) -> None:
        """Perform the pending effect of `actor`, with or without a fault."""
        effect = actor.pending
        if actor.answered:
            actor.answered = False
            result = actor.answer
        elif type(effect) is Request:
            # sent now; the answer arrives later, and a crash or a pause may come first
            actor.answer = self._sent(actor, effect, fault)
            actor.answered, actor.ready_at = True, self.time + LATENCY
            if self.verbose:
                self._note(actor, effect, fault, "sent")
            return
        else:
            result = PERFORM[type(effect)](self, actor, effect, fault)
        if self.verbose:
            self._note(actor, effect, fault, result)
        self._advance(actor, result)

    def _advance(self, actor: Actor, result: object) -> None:
        """Continue to the next effect that others can notice."""
        heard, send = actor.heard, actor.steps.send
        while True:
            heard.append(result)
            try:
                effect: Any = send(result)
            except StopIteration:
                del self.actors[actor.number]
                return
            kind = type(effect)
            perform = PRIVATE.get(kind)
            if perform is None or (kind in IN_STORES and effect.store == SHARED):
                actor.pending, actor.ready_at = effect, self.time
                if kind is Sleep:
                    actor.ready_at += effect.seconds
                return
            result = perform(self, actor, effect)

    # -- effects that concern one process alone ----------------------------------------------------

    def _moved_on(self, actor: Actor, _: object) -> Instant:
        """The reading of the renewal's caller, moved forward; otherwise the clocks."""
        if actor.start is None:
            return self.now(actor.process)
        start, time = actor.start
        return start.after(self.time - time)

    def _ordering_time(self, actor: Actor, _: object) -> float:
        return self.ordering_time(actor.process)

    def _remembered(self, actor: Actor, _: object) -> Entry:
        return actor.process.memory(actor.key)

    def _remember(self, actor: Actor, effect: Save) -> Entry:
        process, key = actor.process, actor.key
        joined = join_at(process.memory(key), effect.entry, self.ordering_time(process))
        check_owner(joined, key)
        process.remember(key, joined)
        return joined

    def _may_adopt(self, actor: Actor, effect: MayAdopt) -> bool:
        return self.may_adopt(actor.process, effect.token)

    def may_adopt(self, process: Process, token: Token) -> bool:
        """Between processes the store is the boundary; a wrong password gets nothing here."""
        return token.value in process.owned or password_of(token.value) == process.password

    def _read(self, actor: Actor, _: object) -> Reading | TokenError:
        process = actor.process
        if process.unreadable:
            actor.named = None
            return GrantUnavailable(f"{process.username}: no password can be read", local=True)
        actor.named = key_of(process.username)
        credentials = Credentials(process.username, process.password)
        return reading_of(credentials, exclusive=self.scenario.exclusive)

    def _hash(self, actor: Actor, effect: Hash) -> bytes:
        """The hash of the credentials that were read, whatever the process has now."""
        del actor
        return b"hash of " + effect.reading.fingerprint

    # -- effects that others can notice ------------------------------------------------------------

    def _sent(self, actor: Actor, effect: Request, fault: Fault | None) -> Token | TokenError:
        spent = effect.refresh_token
        credentials = real_grant.posted(effect.reading, spent)
        if spent is not None:
            self._check_spent(actor, spent)
        username = credentials.username
        if fault is Fault.PASSING:
            return GrantUnavailable(f"{username}: no such page", status=404, transient=True)
        answer = self.server.answer(credentials, spent, self.time, actor.number)
        if fault is Fault.LOST:
            return GrantUnavailable(f"{username}: the answer was lost", transient=True)
        return answer

    def _check_spent(self, actor: Actor, refresh_token: str) -> None:
        spender = self.server.spent.get(refresh_token)
        holder = self.shared.holder(actor.process, actor.key)
        # no lock prevents a process from freezing between its last check and the request
        frozen = actor.process.frozen_until > actor.ready_at
        held = spender is not None and holder is not None and spender == holder[0]
        if held and spender != actor.number and not frozen:
            raise Violation(f"{refresh_token} was spent twice while its lock held")

    def _lock(self, actor: Actor, effect: Lock, fault: Fault | None) -> Hold:
        if fault is Fault.AWAY:
            return Hold.ABSENT if effect.timeout else Hold.BUSY
        return self.shared.lock(actor, self.time)

    def _load(self, actor: Actor, _: object, fault: Fault | None) -> Entry | None:
        return None if fault is Fault.AWAY else self.loaded(actor.process, actor.key)

    def loaded(self, process: Process, key: TokenKey) -> Entry:
        """The shared entry of `key`, on the clocks of this process."""
        return self.shared.load(process, key, self.offsets[process.machine])

    def _save(self, actor: Actor, effect: Save, fault: Fault | None) -> Entry | None:
        if fault is Fault.AWAY:
            return None
        process, key = actor.process, actor.key
        self.shared.save(process, key, effect.entry, self.now(process), self.time)
        return None if fault is Fault.LOST else self.loaded(process, key)

    def _still_held(self, actor: Actor, _: object, __: object) -> bool:
        holder = self.shared.holder(actor.process, actor.key)
        return holder is not None and holder[0] == actor.number

    def _revoke(self, _: Actor, effect: Revoke, __: object) -> None:
        self.server.revoked.add(effect.token.value)

    def _unlock(self, actor: Actor, _: object, __: object) -> None:
        actor.start = None
        self.shared.unlock(actor)

    # -- faults ------------------------------------------------------------------------------------

    def disturb(self, actor: Actor, fault: Fault) -> None:
        """Apply a fault to the process of `actor` before its next step."""
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
        if self.verbose:
            self._note(actor, None, fault, "")

    def _crash(self, process: Process) -> None:
        process.alive = False
        for actor in [each for each in self.actors.values() if each.process is process]:
            del self.actors[actor.number]
            if not self.shared.redis:
                # the system releases a file lock; in Redis the lease must end
                self.shared.unlock(actor)

    # -- reading a run -----------------------------------------------------------------------------

    def _note(self, actor: Actor, effect: object, fault: Fault | None, result: object) -> None:
        what = "" if effect is None else type(effect).__name__
        wrong = "" if fault is None else f" [{fault.name.lower()}]"
        told = result.value if isinstance(result, Hold) else result
        line = f"{self.time:7.2f} s  process {actor.process.number}: {what}{wrong}  {told!s:.90}"
        self.trace.append(line)

    def state(self) -> int:
        """A value that identifies this state, so that it is explored only once."""
        return hash(
            (
                tuple(each.state() for each in self.actors.values()),
                tuple(each.state() for each in self.processes),
                tuple(sorted(self.shared.entries.items())),
                tuple(sorted(self.shared.locks.items())),
                (self.time, *self.offsets),
                self.server.state(),
                tuple(self.faults),
                self.excused,
            )
        )


PRIVATE: dict[type[Any], Callable[[World, Actor, Any], object]] = {
    Now: World._moved_on,
    OrderingTime: World._ordering_time,
    ReadCredentials: World._read,
    Hash: World._hash,
    NewSalt: lambda *_: b"salt",
    MayAdopt: World._may_adopt,
    Lock: lambda *_: Hold.HELD,
    Load: World._remembered,
    Save: World._remember,
    LockTimedOut: lambda *_: None,
    InitialRefused: lambda *_: None,
    LoginUnsaved: lambda *_: None,
    Publish: lambda *_: None,
}
"""How to perform an effect that no other actor can notice, or only in its process's memory."""

IN_STORES = frozenset({Lock, Load, Save})
"""The numbers of effects that others can notice in the shared store."""

PERFORM: dict[type[Any], Callable[[World, Actor, Any, Fault | None], object]] = {
    Lock: World._lock,
    Load: World._load,
    Save: World._save,
    StillHeld: World._still_held,
    Revoke: World._revoke,
    Sleep: lambda *_: None,
    Unlock: World._unlock,
    Wait: lambda *_: None,
}
"""How to perform an effect that others can notice; a `Request` takes two steps of its own."""


@functools.cache
def plan_of(number: int, policy: RefreshPolicy, *, exclusive: bool) -> Plan:
    """The plan of a manager; its jitter lets siblings give up one after another."""
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
    """One reading of `credentials`; that of a refresh token is the real grant's."""
    username = credentials.username
    if not exclusive:
        return Reading(key_of(username), credentials.fingerprint, credentials)
    first = "refresh-0" if username == ALICE else "refresh-0 of another"
    return real_grant.reading_of(credentials, first)
