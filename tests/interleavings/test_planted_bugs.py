"""Bugs that are planted in the core one at a time, each of which the simulator finds."""

# ruff: noqa: ARG001, ARG005  a replacement has the signature of what it replaces

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from evertoken.core import entry, exclusive, renewal, revocation, state
from evertoken.core.effects import LockTimedOut, Now, Request
from evertoken.core.entry import Entry, next_generation
from evertoken.core.exclusive import ExclusiveRenewal
from evertoken.core.renewal import Renewal
from evertoken.core.token import Token
from interleavings import managers, world
from interleavings.explorer import explore, replay, wander
from interleavings.scenario import SCENARIOS
from interleavings.server import Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.effects import Hold, Result, Steps

Patch = pytest.MonkeyPatch


def everywhere(patch: Patch, name: str, bug: object) -> None:
    """Replace a function of the entry in every module that uses it."""
    for module in (entry, state, renewal, revocation, exclusive, world, managers):
        if hasattr(module, name):
            patch.setattr(module, name, bug)


def an_older_token_wins(patch: Patch) -> None:
    def oldest(a: Any, b: Any) -> Any:
        return min((each for each in (a, b) if each), key=lambda each: each.order, default=None)

    patch.setattr(entry, "_newest", oldest)


def a_join_forgets_revocations(patch: Patch) -> None:
    join = entry.join

    def forgetful(a: Entry, b: Entry) -> Entry:
        return dataclasses.replace(join(a, b), revoked_through=b.revoked_through)

    everywhere(patch, "join", forgetful)


def the_store_is_not_read_under_the_lock(patch: Patch) -> None:
    def nothing(self: Renewal, store: int) -> Steps[Result | None]:
        yield Now()
        return None

    patch.setattr(Renewal, "_look", nothing)


def a_token_takes_its_generation_from_its_answer(patch: Patch) -> None:
    def post(self: Renewal, refresh_token: str | None = None) -> Steps[Any]:
        sent = yield Now()
        answer = yield Request(self.credentials, refresh_token)
        now = yield Now()
        self.generation = next_generation(self.known, now.wall) + 1000
        if not isinstance(answer, Token):
            return answer
        dates = {"issued_at": sent.wall, "expires_at": sent.wall + answer.lifetime}
        return dataclasses.replace(
            answer, **dates, issued_boot=sent.boot, generation=self.generation
        )

    patch.setattr(Renewal, "post", post)


def refused_credentials_are_forgotten(patch: Patch) -> None:
    def nothing(self: Renewal, failure: object) -> Steps[None]:
        yield Now()

    patch.setattr(Renewal, "_remember_refusal", nothing)


def a_token_is_adopted_without_proof(patch: Patch) -> None:
    def adoptable(self: Renewal, now: Any) -> Steps[Token | None]:
        yield Now()
        token = self.known.token
        return token if token is not None and self._serves(token, now) else None

    patch.setattr(Renewal, "_adoptable", adoptable)


def a_rejected_token_is_adopted_again(patch: Patch) -> None:
    def serves(self: Renewal, token: Token, now: Any) -> bool:
        return self.plan.policy.usable(token, now)

    patch.setattr(Renewal, "_serves", serves)


def a_late_token_is_handed_out(patch: Patch) -> None:
    patch.setattr(managers, "received", lambda snapshot, result, now, **_: result.token)


def a_busy_lock_is_waited_for_without_end(patch: Patch) -> None:
    def wait(self: Renewal, tries: int) -> Steps[tuple[float, bool]]:
        yield Now()
        return 1.0, False

    patch.setattr(Renewal, "_wait", wait)


def a_refresh_token_is_sent_without_its_lock(patch: Patch) -> None:
    def not_locked(self: ExclusiveRenewal, store: int) -> Steps[Result | None]:
        yield LockTimedOut(store)
        return None

    patch.setattr(ExclusiveRenewal, "not_locked", not_locked)
    patch.setattr(world.World, "_perform", held(world.World._perform))


def held(perform: Callable[..., object]) -> Callable[..., object]:
    """`perform`, under which every lock still looks held."""

    def performed(self: Any, actor: Any, effect: Any, fault: Any) -> object:
        answer = perform(self, actor, effect, fault)
        return True if type(effect).__name__ == "StillHeld" else answer

    return performed


def the_successor_is_not_saved(patch: Patch) -> None:
    def learn(self: ExclusiveRenewal, login: object) -> None:
        """Learn nothing."""

    patch.setattr(ExclusiveRenewal, "_learn", learn)
    patch.setattr(ExclusiveRenewal, "_mark", marked)


def marked(self: ExclusiveRenewal, login: object) -> Steps[bool]:
    """A mark that is not looked at."""
    yield Now()
    return True


def the_home_needs_no_lock(patch: Patch) -> None:
    def locked(self: ExclusiveRenewal, store: int, hold: Hold) -> Steps[Result | None]:
        yield Now()
        return None

    patch.setattr(ExclusiveRenewal, "locked", locked)
    patch.setattr(world.World, "_perform", held(world.World._perform))


BUGS = [
    (an_older_token_wins, "stale-file"),
    (a_join_forgets_revocations, "stale-file"),
    (the_store_is_not_read_under_the_lock, "cold-file"),
    (a_token_takes_its_generation_from_its_answer, "cold-redis"),
    (refused_credentials_are_forgotten, "refused-file"),
    (a_token_is_adopted_without_proof, "mixed-file"),
    (a_rejected_token_is_adopted_again, "stale-file"),
    (a_late_token_is_handed_out, "cold-file"),
    (a_busy_lock_is_waited_for_without_end, "cold-file"),
    (a_refresh_token_is_sent_without_its_lock, "exclusive-file"),
    (the_successor_is_not_saved, "exclusive-file"),
    (the_home_needs_no_lock, "exclusive-file"),
]


@pytest.mark.parametrize(("plant", "name"), BUGS, ids=[plant.__name__ for plant, _ in BUGS])
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        with pytest.raises(Violation) as caught:
            search(name)
        line = str(caught.value).rpartition("replay: ")[2]
        with pytest.raises(Violation):
            replay(line)
    # without the bug the same schedule is sound, if it is possible at all
    with contextlib.suppress(StopIteration):
        replay(line)


def search(name: str) -> None:
    """Look for a violation where one fault is enough, then where two are needed."""
    explore(SCENARIOS[name], faults=1, depth=60, limit=3000)
    wander(SCENARIOS[name], faults=2, seeds=range(5000))
