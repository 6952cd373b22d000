"""Planted bugs: the simulator finds each of them by its invariant.

invariant                                          planted bugs that break it
-------------------------------------------------  ---------------------------------------------
one grant per lifetime, and one for some faults    the_store_is_not_read_under_the_lock
                                                   an_older_token_wins
a revocation is never lost                         a_join_forgets_revocations
a revocation covers a token in flight              a_token_takes_its_generation_from_its_answer
a 401's token is not its own replacement           a_rejected_token_is_adopted_again
no token is handed out after its end               a_late_token_is_handed_out
a token serves the credentials it was granted to   a_token_is_adopted_without_proof
a token stays with its identity                    the_identity_is_read_again_at_the_save
                                                   another_identity_inherits_the_entry
refused credentials are posted once per cool-down  refused_credentials_are_forgotten
no caller gets a refusal that never happened       a_refusal_is_saved_for_credentials_read_later
                                                   a_refusal_is_kept_for_credentials_read_later
                                                   an_answer_without_a_verdict_counts_as_one
no caller fails while its token can be sent        a_failure_ends_a_live_token
a local failure binds its own process alone        a_local_failure_is_shared
no caller waits forever                            a_busy_lock_is_waited_for_without_end
a refresh token is spent once under its lock       a_refresh_token_is_sent_without_its_lock
                                                   the_home_needs_no_lock
only a fault may cost a login                      the_successor_is_not_saved
a new token is sent once it is active              a_new_token_is_sent_at_once
                                                   a_replaced_token_is_sent_on
a refused token is not sent after its successor    a_refused_token_is_sent_on
"""

# ruff: noqa: ARG001  a replacement has the signature of what it replaces

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from evertoken.core import entry, exclusive, renewal, revocation, state
from evertoken.core.effects import Hash, LockTimedOut, Now, Request, Save, StillHeld
from evertoken.core.entry import Entry, next_generation
from evertoken.core.exchange import Exchange
from evertoken.core.exclusive import ExclusiveRenewal
from evertoken.core.failure_kind import FailureKind
from evertoken.core.renewal import Renewal
from evertoken.core.token import Token
from evertoken.errors import GrantRefused
from interleavings import managers, shared_store, world
from interleavings.explorer import Impossible, explore, replay, wander
from interleavings.scenario import SCENARIOS, key_of
from interleavings.server import Credentials, Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.effects import Hold, Steps
    from evertoken.core.outcome import Result

pytestmark = pytest.mark.slow

Patch = pytest.MonkeyPatch


def everywhere(patch: Patch, name: str, bug: object) -> None:
    """Replace a function of `entry` in every module that uses it."""
    for module in (entry, state, renewal, revocation, exclusive, world, shared_store, managers):
        if hasattr(module, name):
            patch.setattr(module, name, bug)


def an_older_token_wins(patch: Patch) -> None:
    def oldest(a: Any, b: Any) -> Any:
        return min((each for each in (a, b) if each), key=lambda each: each.order, default=None)

    patch.setattr(entry, "_newest", oldest)


def a_join_forgets_revocations(patch: Patch) -> None:
    union = entry._union

    def forgetful(a: Entry, b: Entry) -> Entry:
        return dataclasses.replace(union(a, b), revoked_through=b.revoked_through)

    patch.setattr(entry, "_union", forgetful)


def the_store_is_not_read_under_the_lock(patch: Patch) -> None:
    def nothing(self: Renewal, store: int) -> Steps[Result | None]:
        yield Now()
        return None

    patch.setattr(Renewal, "_load_and_check", nothing)


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
    def token_for_waiter(
        snapshot: state.Snapshot, result: Result, now: Any, *, waiting_since: Any
    ) -> Token | None:
        token = result.token
        return None if token is None or snapshot.entry.kills(token) else token

    patch.setattr(managers, "token_for_waiter", token_for_waiter)


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
    every_lock_looks_held(patch)


def every_lock_looks_held(patch: Patch) -> None:
    patch.setitem(world.PERFORM, StillHeld, lambda *_: True)


def the_successor_is_not_saved(patch: Patch) -> None:
    def learn(self: ExclusiveRenewal, login: object) -> None:
        """Learn nothing."""

    patch.setattr(ExclusiveRenewal, "_learn", learn)
    patch.setattr(ExclusiveRenewal, "_mark", marked)


def marked(self: ExclusiveRenewal, login: object) -> Steps[bool]:
    """Save the mark without checking the result."""
    yield Now()
    return True


def the_home_needs_no_lock(patch: Patch) -> None:
    def locked(self: ExclusiveRenewal, store: int, hold: Hold) -> Steps[Result | None]:
        yield Now()
        return None

    patch.setattr(ExclusiveRenewal, "locked", locked)
    every_lock_looks_held(patch)


def a_local_failure_is_shared(patch: Patch) -> None:
    failed = Exchange.failed

    def shared(self: Exchange, error: Any, *, kind: FailureKind | None = None) -> Steps[Result]:
        return failed(self, error, kind=None if kind is FailureKind.LOCAL else kind)

    def of(error: Any) -> FailureKind:
        refused = isinstance(error, GrantRefused)
        return FailureKind.REFUSED if refused else FailureKind.UNAVAILABLE

    patch.setattr(Exchange, "failed", shared)
    patch.setattr(FailureKind, "of", of)


def an_answer_without_a_verdict_counts_as_one(patch: Patch) -> None:
    of = FailureKind.of

    def judged(error: Any) -> FailureKind:
        return FailureKind.REFUSED if error.status in range(400, 500) else of(error)

    patch.setattr(FailureKind, "of", judged)


def a_failure_ends_a_live_token(patch: Patch) -> None:
    decide = state.decide

    def failing(snapshot: state.Snapshot, now: Any) -> state.Action:
        waited_out = snapshot.failure is not None and not snapshot.due(now)
        return state.Action.FAIL if waited_out else decide(snapshot, now)

    everywhere(patch, "decide", failing)


def a_refusal_is_saved_for_credentials_read_later(patch: Patch) -> None:
    def hash_now(self: Any, actor: Any, effect: Hash) -> bytes:
        process = actor.process
        return b"hash of " + Credentials(process.username, process.password).fingerprint

    patch.setitem(world.PRIVATE, Hash, hash_now)


def a_refusal_is_kept_for_credentials_read_later(patch: Patch) -> None:
    renew = managers.renew

    def kept(where: Any, actor: Any, request: Any) -> Any:
        process = actor.process
        result = yield from renew(where, actor, request)
        failure = process.snapshot.failure
        if failure is not None and failure.refused:
            now = Credentials(process.username, process.password).fingerprint
            failure = dataclasses.replace(failure, credentials_hash=now)
            process.snapshot = dataclasses.replace(process.snapshot, failure=failure)
        return result

    patch.setattr(managers, "renew", kept)


def the_identity_is_read_again_at_the_save(patch: Patch) -> None:
    save = world.PERFORM[Save]

    def saved(self: Any, actor: Any, effect: Save, fault: Any) -> object:
        actor.named = key_of(actor.process.username)
        return save(self, actor, effect, fault)

    patch.setitem(world.PERFORM, Save, saved)


def another_identity_inherits_the_entry(patch: Patch) -> None:
    def identify(self: Renewal, reading: object) -> None:
        """Drop nothing."""

    patch.setattr(Renewal, "_identify", identify)


def a_new_token_is_sent_at_once(patch: Patch) -> None:
    patch.setattr(state, "_with_former", lambda snapshot, *_: snapshot)


def a_replaced_token_is_sent_on(patch: Patch) -> None:
    everywhere(patch, "activated", lambda snapshot, _now: snapshot)


def a_refused_token_is_sent_on(patch: Patch) -> None:
    patch.setattr(managers, "promoted", lambda snapshot: snapshot)


BUGS = [
    (an_older_token_wins, "stale-file", "grants, and only"),
    (a_join_forgets_revocations, "stale-file", "a revocation was lost"),
    (the_store_is_not_read_under_the_lock, "cold-file", "grants, and only"),
    (
        a_token_takes_its_generation_from_its_answer,
        "decades-redis",
        "was in flight when this process revoked",
    ),
    (refused_credentials_are_forgotten, "refused-file", "times in one cool-down"),
    (a_token_is_adopted_without_proof, "mixed-file", "a wrong password received a token"),
    (a_rejected_token_is_adopted_again, "stale-file", "handed out as its own replacement"),
    (a_late_token_is_handed_out, "cold-file", "had expired when it was handed out"),
    (a_busy_lock_is_waited_for_without_end, "cold-file", "a caller waited for"),
    (a_refresh_token_is_sent_without_its_lock, "exclusive-file", "spent twice while its lock held"),
    (the_successor_is_not_saved, "exclusive-file", "its login is lost"),
    (the_home_needs_no_lock, "exclusive-file", "spent twice while its lock held"),
    (a_local_failure_is_shared, "twice-file", "told that another cannot read"),
    (an_answer_without_a_verdict_counts_as_one, "cold-file", "is said to be refused, and was not"),
    (a_failure_ends_a_live_token, "stale-file", "could still be sent"),
    (
        a_refusal_is_saved_for_credentials_read_later,
        "cold-file",
        "is said to be refused, and was not",
    ),
    (
        a_refusal_is_kept_for_credentials_read_later,
        "cold-file",
        "is said to be refused, and was not",
    ),
    (the_identity_is_read_again_at_the_save, "cold-file", "was saved as bob's"),
    (another_identity_inherits_the_entry, "stale-file", "was saved as bob's"),
    (a_new_token_is_sent_at_once, "activation-file", "before the API accepts it"),
    (a_replaced_token_is_sent_on, "activation-file", "though its successor is active"),
    (a_refused_token_is_sent_on, "activation-file", "handed out after its successor"),
]


@pytest.mark.parametrize(("plant", "name", "broken"), BUGS, ids=[each[0].__name__ for each in BUGS])
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], name: str, broken: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        with pytest.raises(Violation, match=broken) as caught:
            search(name)
        line = str(caught.value).rpartition("replay: ")[2]
        with pytest.raises(Violation, match=broken):
            replay(line)
    # without the bug the same schedule violates nothing, if it is possible at all
    with contextlib.suppress(Impossible):
        replay(line)


def search(name: str) -> None:
    """Search for a violation with one fault, then with two."""
    explore(SCENARIOS[name], faults=1, depth=60, limit=3000)
    wander(SCENARIOS[name], faults=2, seeds=range(5000))
