"""The threads of a simulated process: a small engine around the real core."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core.effects import Load, Now, RenewalRequest, Save, Sleep
from evertoken.core.entry import Entry, adds
from evertoken.core.login import Initial, Login, digest_of
from evertoken.core.outcome import apply_result, token_for_waiter
from evertoken.core.protocol import renewal, revocation
from evertoken.core.state import (
    Action,
    Snapshot,
    activated,
    decide,
    merge_shared,
    promoted,
    revoked,
    with_rejected,
)
from evertoken.core.token import Token
from interleavings.actors import Process, Unlock, Wait
from interleavings.scenario import (
    ALICE,
    KEY,
    LIFETIME,
    PAUSE_BETWEEN_CALLS,
    POLICY,
    RIGHT,
    START,
    WRONG,
    Fault,
    Scenario,
)
from interleavings.server import Violation, owner_of
from interleavings.world import SHARED, World

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.outcome import Result
    from interleavings.actors import Actions, Actor, Step

TIMEOUT = 40.0
"""Seconds after which a call gives up."""

PATIENCE = 22.0
"""Seconds that a call takes at most: a lock timeout with jitter, and a few requests.

Add the same again for each token that is dead on arrival.
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
        first = world.processes[0]
        world.shared.put(first, KEY, Entry(login=login), world.now(first), world.time)
    for process in world.processes:
        world.spawn(process, calls)
    return world


def _hold(world: World, process: Process, age: float) -> None:
    now = world.now(process)
    token = first_token(now.after(-age))
    entry = Entry.of_token(token)
    world.shared.put(process, KEY, entry, now, world.time)
    process.owned = frozenset({token.value})
    process.remember(KEY, entry)
    process.snapshot = first_snapshot(entry, now)


@functools.cache
def first_token(at: Instant) -> Token:
    """The token that all processes hold at first, issued at `at`."""
    value = f"{ALICE}:{RIGHT}-first"
    return Token(value, at.wall, at.wall + LIFETIME, issued_boot=at.boot, generation=int(at.wall))


@functools.cache
def first_snapshot(entry: Entry, now: Instant) -> Snapshot:
    """The snapshot of a manager that has found `entry` in its store."""
    return merge_shared(Snapshot(key=KEY), entry, now, POLICY, jitter_fraction=0.0, may_adopt=True)


def calls(world: World, actor: Actor) -> Actions:
    """The calls of one thread."""
    for left in reversed(range(world.scenario.calls)):
        yield from call(world, actor, left=left)
        if world.scenario.activation and left:
            yield Sleep(PAUSE_BETWEEN_CALLS)


def call(world: World, actor: Actor, *, left: int = 0) -> Actions:
    """One call of `token()`, after which this thread makes `left` more."""
    process, begun, outcome = actor.process, world.time, ""
    waiting_since = world.now(process)
    actor.begin_call(left, waiting_since)
    while world.time < begun + TIMEOUT and not outcome:
        yield from poll(world, actor)
        now = world.now(process)
        action = decide(process.snapshot, now)
        if action in {Action.USE, Action.REFRESH_IF_FREE}:
            process.snapshot = activated(process.snapshot, now)
            hand_out(world, process, process.snapshot.sent, now, arrived=False)
            outcome = "token"
        elif action is Action.FAIL:
            tell(world, process, process.snapshot.failure, process.snapshot.fingerprint)
            outcome = "error"
        if action in {Action.USE, Action.FAIL}:
            break
        if process.renewing:
            yield Wait()
            continue
        request = RenewalRequest(snapshot=process.snapshot, start=now)
        result = yield from renew(world, actor, request)
        outcome = outcome or finished(world, process, result, waiting_since=waiting_since)
    process.outcomes += (outcome,)
    waited = world.time - begun
    renewals = 1 + world.faults.count(Fault.REVOKE) + world.faults.count(Fault.REJECT)
    if waited > PATIENCE * renewals and process.frozen_until < begun:
        raise Violation(f"a caller waited for {waited:.0f} s")


def finished(world: World, process: Process, result: Result, *, waiting_since: Instant) -> str:
    """The outcome for a caller that waited for `result`; empty if it asks again."""
    now = world.now(process)
    token = token_for_waiter(process.snapshot, result, now, waiting_since=waiting_since)
    if token is not None:
        token = activated(process.snapshot, now).sent
        arrived = token == result.token and not result.late(now)
        hand_out(world, process, token, now, arrived=arrived)
        return "token"
    if result.error is None:
        return ""
    tell(world, process, result.failure, result.fingerprint)
    return "error"


def poll(world: World, actor: Actor) -> Generator[Step, Any, None]:
    """Merge the shared entry, and repair a store that has lost something."""
    process = actor.process
    actor.named = key = process.key
    if process.snapshot.key is None:
        process.snapshot = replace(process.snapshot, key=key)
    entry = yield Load(SHARED)
    now = world.now(process)
    if entry is not None and entry.revoked_through > process.dead_through.get(key, -math.inf):
        process.dead_through = {**process.dead_through, key: entry.revoked_through}
    if process.snapshot.key != key:
        # a renewal has switched to another identity meanwhile
        return
    for known in (entry, process.memory(key)):
        token = None if known is None else known.token
        may_adopt = token is not None and world.may_adopt(process, token)
        process.snapshot = merge_shared(
            process.snapshot,
            known,
            now,
            world.scenario.policy,
            jitter_fraction=0.0,
            may_adopt=may_adopt,
        )
        own(world, process)
    if entry is not None and adds(process.snapshot.entry, entry):
        yield Save(SHARED, process.snapshot.entry)


def renew(world: World, actor: Actor, request: RenewalRequest) -> Generator[Step, Any, Result]:
    """The single renewal of this process."""
    process = actor.process
    process.renewing = True
    actor.begin_renewal(request, world.time)
    result: Result = yield from renewal(world.plan(process), request)
    now = yield Now()
    process.snapshot = apply_result(
        process.snapshot, result, now, world.scenario.policy, jitter_fraction=0.0
    )
    own(world, process)
    yield Unlock()
    process.renewing = False
    return result


def own(world: World, process: Process) -> None:
    """Record the owner of the manager's token, and since when."""
    token = process.snapshot.token
    if token is None:
        return
    if token.value not in process.owned:
        process.owned |= {token.value}
    if world.scenario.activation and process.arrived[0] != token.value:
        process.arrived = token.value, world.time


def revoke(world: World, actor: Actor) -> Actions:
    """One call of `revoke()`."""
    process, begun, before = actor.process, world.time, actor.process.snapshot
    outcome = yield from revocation(world.plan(process), before)
    key = actor.named
    if process.snapshot.key in {None, key or before.key}:
        process.snapshot = revoked(process.snapshot, outcome.entry)
    if key is not None:
        # without the credentials, a token in flight is unknown
        process.revoked_before = {**process.revoked_before, key: begun}
    yield Unlock()
    yield from call(world, actor)


def replace_rejected(world: World, actor: Actor) -> Actions:
    """Handle a 401: replace the token, once."""
    process = actor.process
    if process.snapshot.former is not None:
        # its replacement is already here, and counts as served from now on
        process.served = process.snapshot.token
        process.snapshot = promoted(process.snapshot)
        yield from call(world, actor)
        return
    token, process.served = process.snapshot.token, None
    process.snapshot = with_rejected(process.snapshot)
    request = RenewalRequest(snapshot=process.snapshot, start=world.now(process))
    result = yield from renew(world, actor, request)
    if token is not None and result.token is not None and result.token.value == token.value:
        raise Violation("the rejected token was handed out as its own replacement")
    yield from call(world, actor)


def hand_out(
    world: World, process: Process, token: Token | None, now: Instant, *, arrived: bool
) -> None:
    """Check the token that a caller gets; one that just `arrived` may have expired in flight."""
    if token is None:
        raise Violation("a caller was told to use a token that is not there")
    key = process.key
    if owner_of(token.value) != key.username:
        raise Violation(f"{token.value} was handed out as {key.username}'s")
    if is_dead(process, token):
        raise Violation(f"{token.value} is dead by the process's own knowledge")
    if world.server.sent.get(token.value, math.inf) < process.revoked_before.get(key, -math.inf):
        raise Violation(f"{token.value} was in flight when this process revoked")
    if not arrived and POLICY.usable_until(token).reached(now):
        raise Violation(f"{token.value} had expired when it was handed out")
    if process.password == WRONG:
        raise Violation("a wrong password received a token")
    check_activation(world, process, token, now)
    process.served = token


def check_activation(world: World, process: Process, token: Token, now: Instant) -> None:
    """Check that `token` is the one of the last two that the API accepts."""
    served, newest, delay = process.served, process.snapshot.token, world.scenario.activation
    if newest is not None and token.value != newest.value:
        value, since = process.arrived
        if value == newest.value and world.time > since + delay:
            raise Violation(f"{token.value} was handed out though its successor is active")
    if served is None or served.value == token.value or is_dead(process, served):
        return
    same = owner_of(served.value) == owner_of(token.value)
    if not (same and POLICY.usable(served, now)):
        return
    if token.order < served.order:
        raise Violation(f"{token.value} was handed out after its successor")
    # a clock that was set may have ended the delay, or the token before
    clock_was_set = Fault.AHEAD in world.faults or Fault.BACK in world.faults
    active_at = world.server.sent.get(token.value, -math.inf) + delay
    if world.time < active_at and not clock_was_set:
        raise Violation(f"{token.value} was handed out before the API accepts it")


def is_dead(process: Process, token: Token) -> bool:
    """Whether `process` knows that `token`, of its current identity, was revoked."""
    revoked_through = process.snapshot.entry.revoked_through
    return token.generation <= max(process.dead_through.get(process.key, -1), revoked_through)


def tell(world: World, process: Process, failure: Failure | None, fingerprint: bytes) -> None:
    """Check the failure that a caller gets; `fingerprint` is of the caller's credentials."""
    if failure is None:
        raise Violation("a caller failed without a failure")
    if failure.error.local and not process.unreadable:
        raise Violation("a process was told that another cannot read its credentials")
    if failure.refused:
        for each in (fingerprint, failure.credentials_hash):
            if not world.server.refused(each):
                raise Violation(f"{each.decode()} is said to be refused, and was not")
    served = process.served
    if served is None or owner_of(served.value) != process.key.username:
        return
    if POLICY.usable(served, world.now(process)) and not is_dead(process, served):
        raise Violation(f"a caller failed though {served.value} could still be sent")
