"""What the threads of a simulated process do: the engine in a few lines, around the real core."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from evertoken.core.effects import Load, Now, RenewalRequest, Save
from evertoken.core.entry import NOTHING, Entry, adds
from evertoken.core.login import Initial, Login, digest_of
from evertoken.core.protocol import renewal, revocation
from evertoken.core.state import (
    Action,
    apply_result,
    decide,
    merge_shared,
    received,
    revoked,
    with_rejected,
)
from evertoken.core.token import Token
from interleavings.scenario import LIFETIME, POLICY, RIGHT, START, WRONG, Fault, Scenario
from interleavings.server import Violation
from interleavings.world import SHARED, Begin, Process, Unlock, Wait, World

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from evertoken.core.effects import Result
    from evertoken.core.instant import Instant
    from interleavings.world import Actions, Step

TIMEOUT = 40.0
"""Seconds after which a call gives up."""

PATIENCE = 22.0
"""Seconds that a call lasts at most: the timeout of a lock with jitter, and a few requests.

As much again for each token that dies when it arrives.
"""


def begin(scenario: Scenario, *, verbose: bool = False) -> World:
    """A world in which every process is about to make its first call."""
    world = World(scenario, offsets=[0.0, scenario.skew], verbose=verbose)
    for number, machine in enumerate(scenario.machines):
        process = Process(number, machine, scenario.passwords[number])
        world.processes.append(process)
        if scenario.age is not None:
            _hold(world, process, scenario.age)
    if scenario.exclusive:
        login = Login("refresh-0", int(START) - 900, initials=(Initial(0, digest_of("refresh-0")),))
        world.entries[0] = world.entries.get(0, NOTHING) if scenario.age else Entry(login=login)
    for process in world.processes:
        world.spawn(process, calls(world, process))
    return world


def _hold(world: World, process: Process, age: float) -> None:
    now = world.now(process)
    at = now.after(-age)
    value = f"{RIGHT}-first"
    token = Token(value, at.wall, at.wall + LIFETIME, issued_boot=at.boot, generation=int(at.wall))
    entry = Entry.of_token(token)
    world.store(process, entry)
    process.owned = frozenset({value})
    process.memory = entry
    process.snapshot = merge(process, entry, now, may_adopt=process.password != WRONG)


def merge(process: Process, entry: Entry | None, now: Instant, *, may_adopt: bool) -> Any:
    """The snapshot after a poll."""
    return merge_shared(
        process.snapshot, entry, now, POLICY, jitter_fraction=0.0, may_adopt=may_adopt
    )


def calls(world: World, process: Process) -> Actions:
    """The calls of one thread."""
    for _ in range(world.scenario.calls):
        yield from call(world, process)


def call(world: World, process: Process) -> Actions:
    """One call of `token()`."""
    begun, outcome = world.time, ""
    came = world.now(process)
    while world.time < begun + TIMEOUT and not outcome:
        yield from poll(world, process)
        now = world.now(process)
        action = decide(process.snapshot, now)
        if action in {Action.USE, Action.REFRESH_IF_FREE}:
            hand_out(world, process, process.snapshot.token, now, arrived=False)
            outcome = "token"
        elif action is Action.FAIL:
            outcome = "error"
        if action in {Action.USE, Action.FAIL}:
            break
        if process.renewing:
            yield Wait()
            continue
        request = RenewalRequest(snapshot=process.snapshot, start=now)
        result = yield from renew(world, process, request)
        outcome = outcome or finished(world, process, result, came=came)
    process.outcomes += (outcome,)
    renewals = 1 + sum(fault in {Fault.REVOKE, Fault.REJECT} for fault in world.faults)
    if world.time - begun > PATIENCE * renewals and process.frozen_until < begun:
        raise Violation(f"a caller waited for {world.time - begun:.0f} s")


def finished(world: World, process: Process, result: Result, *, came: Instant) -> str:
    """What a caller that waited for `result` gets; empty if it asks again."""
    now = world.now(process)
    token = received(process.snapshot, result, now, came=came)
    if token is not None:
        arrived = token == result.token and not result.late(now)
        hand_out(world, process, token, now, arrived=arrived)
        return "token"
    return "" if result.error is None else "error"


def poll(world: World, process: Process) -> Generator[Step, Any, None]:
    """Merge what siblings share, and mend a store that has forgotten something."""
    entry = yield Load(SHARED)
    now = world.now(process)
    if entry is not None:
        process.dead_through = max(process.dead_through, entry.revoked_through)
    for known in (entry, process.memory):
        token = None if known is None else known.token
        may_adopt = token is not None and world.may_adopt(process, token)
        process.snapshot = merge(process, known, now, may_adopt=may_adopt)
        own(process)
    if entry is not None and adds(process.snapshot.entry, entry):
        yield Save(SHARED, process.snapshot.entry)


def renew(world: World, process: Process, request: RenewalRequest) -> Generator[Step, Any, Result]:
    """The one renewal of this process."""
    process.renewing = True
    yield Begin(request.start)
    result: Result = yield from renewal(world.plan(process), request)
    now = yield Now()
    process.snapshot = apply_result(process.snapshot, result, now, POLICY, jitter_fraction=0.0)
    own(process)
    yield Unlock()
    process.renewing = False
    return result


def own(process: Process) -> None:
    """Remember whose token the manager sends."""
    if process.snapshot.token is not None:
        process.owned |= {process.snapshot.token.value}


def revoke(world: World, process: Process) -> Actions:
    """One call of `revoke()`."""
    begun = world.time
    outcome = yield from revocation(world.plan(process), process.snapshot)
    process.snapshot = revoked(process.snapshot, outcome.entry)
    process.revoked_before = begun
    yield Unlock()
    yield from call(world, process)


def replace_rejected(world: World, process: Process) -> Actions:
    """What a 401 does: the token is replaced, once."""
    token = process.snapshot.token
    request = RenewalRequest(snapshot=process.snapshot, start=world.now(process), rejected=token)
    process.snapshot = with_rejected(process.snapshot)
    result = yield from renew(world, process, request)
    if token is not None and result.token is not None and result.token.value == token.value:
        raise Violation("the rejected token was handed out as its own replacement")
    yield from call(world, process)


def hand_out(
    world: World, process: Process, token: Token | None, now: Instant, *, arrived: bool
) -> None:
    """Check the token that a caller gets; one that just `arrived` may have expired on its way."""
    if token is None:
        raise Violation("a caller was told to use a token that is not there")
    if token.generation <= max(process.dead_through, process.snapshot.entry.revoked_through):
        raise Violation(f"{token.value} is dead by the process's own knowledge")
    if world.server.sent.get(token.value, math.inf) < process.revoked_before:
        raise Violation(f"{token.value} was in flight when this process revoked")
    if not arrived and POLICY.usable_until(token).reached(now):
        raise Violation(f"{token.value} had expired when it was handed out")
    if process.password == WRONG:
        raise Violation("a wrong password received a token")
