"""What the threads of a simulated process do: the engine in a few lines, around the real core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.core.effects import Load, Now, RenewalRequest, Save
from evertoken.core.entry import NOTHING, Entry, Initial, Login, adds, digest_of
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
from interleavings.scenario import LIFETIME, POLICY, RIGHT, START, WRONG, Scenario
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


def begin(scenario: Scenario, *, verbose: bool = False) -> World:
    """A world in which every process is about to make its first call."""
    world = World(scenario, verbose=verbose)
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
    give_up = world.time + TIMEOUT
    while world.time < give_up:
        yield from poll(world, process)
        now = world.now(process)
        action = decide(process.snapshot, now)
        if action is Action.FAIL:
            return
        if action is not Action.REFRESH_OR_WAIT:
            hand_out(process, process.snapshot.token, now, arrived=False)
        if action is Action.USE:
            return
        if process.renewing:
            yield Wait()
            result = None
        else:
            request = RenewalRequest(snapshot=process.snapshot, start=now)
            result = yield from renew(world, process, request)
        if action is Action.REFRESH_IF_FREE:
            return
        if result is not None and finished(world, process, result):
            return


def finished(world: World, process: Process, result: Result) -> bool:
    """Whether a caller that waited for `result` got a token or an error."""
    now = world.now(process)
    token = received(process.snapshot, result, now)
    if token is not None:
        hand_out(process, token, now, arrived=token == result.token and not result.late(now))
    return token is not None or result.error is not None


def poll(world: World, process: Process) -> Generator[Step, Any, None]:
    """Merge what siblings share, and mend a store that has forgotten something."""
    entry = yield Load(SHARED)
    now = world.now(process)
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
    outcome = yield from revocation(world.plan(process), process.snapshot)
    process.snapshot = revoked(process.snapshot, outcome.entry)
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


def hand_out(process: Process, token: Token | None, now: Instant, *, arrived: bool) -> None:
    """Check the token that a caller gets; one that just `arrived` may have expired on its way."""
    if token is None:
        raise Violation("a caller was told to use a token that is not there")
    if process.snapshot.entry.kills(token):
        raise Violation(f"{token.value} is dead by the process's own knowledge")
    if not arrived and POLICY.usable_until(token).reached(now):
        raise Violation(f"{token.value} had expired when it was handed out")
    if process.password == WRONG:
        raise Violation("a wrong password received a token")
