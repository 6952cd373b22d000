"""Explores every interleaving up to a depth, and random ones beyond; replays a single one.

A schedule is a line: the scenario's name, a colon, and for each step the number of the actor that
continues, followed by the letter of a fault, if any.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evertoken.core.effects import Load, Lock, Request, Save
from evertoken.core.entry import NOTHING_REVOKED, join
from interleavings.managers import begin, call, replace_rejected, revoke
from interleavings.scenario import ALICE, EXTRA_GRANTS, RIGHT, SCENARIOS, Fault, Scenario
from interleavings.server import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interleavings.actors import Actor
    from interleavings.world import World


class Impossible(ValueError):
    """A schedule has a step that its scenario does not allow."""


Choice = tuple[int, Fault | None]
"""The actor that continues, and a fault."""

FAULT_RATE = 0.15
"""How often a random schedule draws a fault before a step; the draw may choose none."""

HORIZON = 400.0
"""Seconds after which an actor is assumed to wait forever."""


@dataclass
class Tally:
    """Counts of what was explored."""

    schedules: int = 0
    states: int = 0
    deepest: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def explore(scenario: Scenario, faults: int, depth: int, limit: int | None = None) -> Tally:
    """Follow every schedule of `scenario` up to a number of faults and of steps.

    A state that was reached before is not explored again.
    """
    tally, seen = Tally(), set[int]()
    waiting: list[list[Choice]] = [[]]
    while waiting and (limit is None or tally.schedules < limit):
        path = waiting.pop()
        world = begin(scenario)
        for choice in path:
            advance(world, choice)
        tally.schedules += 1
        while (state := world.state()) not in seen:
            seen.add(state)
            choices = options(world, faults) if len(world.path) < depth else []
            if not choices:
                settle(world)
                break
            waiting += [[*world.path, choice] for choice in choices[1:]]
            advance(world, choices[0])
        tally.deepest = max(tally.deepest, len(world.path))
    tally.states = len(seen)
    return tally


def wander(scenario: Scenario, faults: int, seeds: Iterable[int]) -> Tally:
    """Follow one random schedule of `scenario` to its end for each seed."""
    tally, dice = Tally(), random.Random()  # noqa: S311  seeded, to be repeated
    draw = dice.random
    for seed in seeds:
        dice.seed(seed)
        world = begin(scenario)
        while actors := world.runnable():
            actor = actors[int(draw() * len(actors))] if len(actors) > 1 else actors[0]
            fault = None
            if len(world.faults) < faults and draw() < FAULT_RATE:
                fault = dice.choice([None, *possible(world, actor)])
            go_on(world, actor, fault)
        settle(world)
        tally.schedules += 1
        tally.states += len(world.path)
        tally.deepest = max(tally.deepest, len(world.path))
        tally.faults.update(fault.name for fault in world.faults)
    return tally


def replay(line: str) -> list[str]:
    """Run the schedule in `line`, and return its steps as text. A failure repeats."""
    name, _, steps = line.partition(":")
    world = begin(SCENARIOS[name], verbose=True)
    for step in steps.split():
        letter = "" if step.isdigit() else step[-1]
        number = int(step.removesuffix(letter))
        if number not in {actor.number for actor in world.runnable()}:
            raise Impossible(f"{number} cannot go on after {len(world.path)} steps of {line}")
        advance(world, (number, Fault(letter) if letter else None))
    settle(world)
    return world.trace


def options(world: World, faults: int) -> list[Choice]:
    """The choices for the next step."""
    actors = world.runnable()
    choices: list[Choice] = [(actor.number, None) for actor in actors]
    if len(world.faults) < faults:
        choices += [(actor.number, fault) for actor in actors for fault in possible(world, actor)]
    return choices


def possible(world: World, actor: Actor) -> list[Fault]:
    """The faults that make a difference before the next step of `actor`."""
    faults = [Fault.CRASH, Fault.PAUSE, Fault.BACK, Fault.AHEAD, Fault.FORK, Fault.REVOKE]
    process, effect = actor.process, actor.pending
    # the credentials are read once, before any lock, and not again until the answer
    if process.username == ALICE and (actor.answered or not process.renewing):
        faults.append(Fault.RENAME)
    if actor.answered:
        return faults
    if not process.renewing and not process.unreadable:
        faults.append(Fault.UNREADABLE)
    if isinstance(effect, Request | Save):
        faults.append(Fault.LOST)
    if isinstance(effect, Request):
        faults.append(Fault.PASSING)
    if isinstance(effect, Lock | Load | Save):
        faults.append(Fault.AWAY)
    if process.snapshot.usable(world.now(process)) and not process.renewing:
        faults.append(Fault.REJECT)
    if not world.scenario.exclusive and Fault.ROTATE not in world.faults:
        # before a request: the old password is then refused, and the new one is available
        faults.append(Fault.ROTATE)
    return faults


def advance(world: World, choice: Choice) -> None:
    """Let time pass until a step is possible, make it, and check the result."""
    number, fault = choice
    actor = world.actors[number]
    world.time = max(world.time, world.ready_at(actor))
    go_on(world, actor, fault)


def go_on(world: World, actor: Actor, fault: Fault | None) -> None:
    """Make one step of `actor`, and check the result."""
    world.path.append((actor.number, fault))
    try:
        if fault is not None:
            world.faults.append(fault)
            world.excused += EXTRA_GRANTS[fault]
        if fault is None or fault in STEPPING:
            world.step(actor, fault)
        else:
            disturb(world, actor, fault)
        check(world)
    except Violation as violation:
        raise explained(world, violation) from None


STEPPING = frozenset({Fault.LOST, Fault.AWAY, Fault.PASSING})
"""Faults that are part of a step; all others take a step of their own."""


def disturb(world: World, actor: Actor, fault: Fault) -> None:
    """A fault that takes a step of its own."""
    process = actor.process
    world.disturb(actor, fault)
    if fault is Fault.FORK:
        child = replace(process, number=len(world.processes), renewing=False)
        world.processes.append(child)
        world.spawn(child, call)
    elif fault is Fault.REVOKE:
        world.spawn(process, revoke)
    elif fault is Fault.REJECT:
        world.spawn(process, replace_rejected)


def check(world: World) -> None:
    """Check the invariants that hold after every step."""
    server, scenario = world.server, world.scenario
    allowed = scenario.grants + world.excused
    if len(server.grants) > allowed:
        raise Violation(f"{len(server.grants)} grants, and only {allowed} have a reason")
    if len(server.refusals) > 1:
        check_refusals(world)
    if server.reused and not MAY_LOSE_A_LOGIN.intersection(world.faults):
        raise Violation("a refresh token was sent again, and its login is lost")
    if world.time > HORIZON:
        raise Violation("an actor waits forever")


MAY_LOSE_A_LOGIN = frozenset({Fault.CRASH, Fault.LOST, Fault.PAUSE, Fault.AWAY})
"""Faults after which a spent refresh token may be sent again: its successor was never saved."""


def check_refusals(world: World) -> None:
    """Check that refused credentials are posted once per cool-down, and once more per fault."""
    posts = Counter(credentials for credentials, time in world.server.refusals)
    for credentials, count in posts.items():
        if count > 1 + len(world.faults):
            raise Violation(f"{credentials} was posted {count} times in one cool-down")


def settle(world: World) -> None:
    """Check the end: no revoked token is left, and no caller failed without a reason."""
    if not (world.actors or world.faults) and world.scenario.grants:
        for process in world.processes:
            if process.password == RIGHT and set(process.outcomes) != {"token"}:
                raise explained(world, Violation(f"calls got {process.outcomes}"))
    for process in world.processes:
        own = process.snapshot
        if own.entry.revoked_through == NOTHING_REVOKED:
            continue
        shared = join(world.loaded(process, process.key), process.memory(process.key))
        for token in (own.token, shared.token):
            if token is not None and own.entry.kills(token):
                raise explained(world, Violation(f"{token.value} is dead, and kept"))


def explained(world: World, violation: Violation) -> Violation:
    """`violation` with its steps and the line that replays it."""
    line = schedule(world)
    if not world.verbose:
        try:
            replay(line)
        except Violation as again:
            return again
    return Violation("\n".join([str(violation), *world.trace, f"replay: {line}"]))


def schedule(world: World) -> str:
    """The line that replays the steps so far."""
    steps = (f"{number}{fault.value if fault else ''}" for number, fault in world.path)
    return f"{world.scenario.name}:{' '.join(steps)}"
