"""Properties of long sequences of steps, whatever the results and the clocks are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertoken.core.entry import Entry
from evertoken.core.failure_kind import FailureKind
from evertoken.core.instant import Instant
from evertoken.core.outcome import Result, Source, apply_result
from evertoken.core.policy import RefreshPolicy
from evertoken.core.state import (
    EMPTY,
    Action,
    Snapshot,
    decide,
    merge_shared,
    with_failure,
    with_token,
)
from evertoken.core.token import Token
from evertoken.errors import GrantUnavailable
from support.core_values import DAY, HOUR, KEY, NOW, failure, issued
from support.strategies import TRIES, draws, lifetimes, policies, tokens_at

if TYPE_CHECKING:
    from evertoken.core.failure import Failure

POLICY = RefreshPolicy()


def held(token: Token, now: Instant = NOW, fraction: float = 0.0) -> Snapshot:
    return with_token(EMPTY, token, now, POLICY, jitter_fraction=fraction)


def granted(snapshot: Snapshot, token: Token, now: Instant) -> Snapshot:
    """`snapshot` after a renewal that returned `token`."""
    result = Result(source=Source.GRANT, key=KEY, token=token, entry=Entry.of_token(token))
    return apply_result(snapshot, result, now, POLICY, jitter_fraction=0.0)


# -- how often -------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", ["the same again", "each another"])
@pytest.mark.parametrize("lifetime", [0.2, 1, 5, 15])
def test_a_caller_that_never_pauses_gets_one_token_per_lifetime(  # F28
    lifetime: float, values: str
) -> None:
    snapshot, grants, calls = EMPTY, 0, 2000
    for call in range(calls):
        now = NOW.after(call * lifetime / 100)
        if decide(snapshot, now) is not Action.USE:
            grants += 1
            value = "token" if values == "the same again" else f"token-{call}"
            token = issued(now, value=value, lifetime=lifetime, generation=call)
            snapshot = granted(snapshot, token, now)
    lifetimes_passed = calls / 100
    assert lifetimes_passed <= grants <= 1.5 * lifetimes_passed


def test_the_same_token_granted_again_has_its_new_times() -> None:
    stale = NOW.after(HOUR - 100)
    again = issued(stale, lifetime=100)
    snapshot = granted(held(issued()), again, stale)
    assert snapshot.token == again
    assert decide(snapshot, stale) is Action.USE
    # a copy of it adds nothing
    assert granted(snapshot, replace(again, expires_at=again.expires_at + 60), stale) == snapshot


def test_a_clock_set_forward_and_back_costs_one_grant() -> None:  # F16
    wrong = Instant(NOW.wall + DAY, NOW.boot + 60)
    assert decide(held(issued()), wrong) is Action.REFRESH_OR_WAIT
    renewed = granted(held(issued()), issued(wrong), wrong)
    assert decide(renewed, NOW.after(120)) is Action.USE


@TRIES
@given(policies(), tokens_at(), draws)
def test_with_any_policy_due_comes_before_the_end_of_use_and_that_before_expiry(
    policy: RefreshPolicy, token: Token, fraction: float
) -> None:
    due_at = policy.due_at(token, jitter_fraction=fraction)
    usable_until = policy.usable_until(token)
    assert due_at.earlier(usable_until) == due_at
    assert usable_until.wall <= token.expires_at + 1e-6
    if token.issued_boot is not None:
        assert usable_until.boot <= token.issued_boot + token.lifetime + 1e-6


def test_a_policy_with_zero_pauses_never_waits() -> None:
    policy = RefreshPolicy(retry_after=0, retry_after_max=0)
    down = GrantUnavailable("down", transient=True)
    kind = FailureKind.UNAVAILABLE
    assert policy.backoff(down, kind=kind, count=1, jitter_fraction=0.0) == 0


# -- how long --------------------------------------------------------------------------------------


@TRIES
@given(
    st.lists(
        st.tuples(st.floats(0, 1000), st.floats(0, DAY), st.sampled_from(FailureKind)), max_size=20
    ),
    draws,
)
def test_a_live_token_outlives_any_number_of_failures(
    failures: list[tuple[float, float, FailureKind]], fraction: float
) -> None:
    token = issued()
    snapshot, now = held(token, fraction=fraction), NOW
    for step, pause, kind in failures:
        now = now.after(step)
        usable = POLICY.usable(token, now)
        failed = failure(now, kind=kind, pause=pause)
        snapshot = with_failure(snapshot, failed, now, POLICY)
        assert snapshot.token == token
        assert snapshot.usable(now) is usable
        if usable:
            assert decide(snapshot, now) in {Action.USE, Action.REFRESH_IF_FREE}
            assert decide(snapshot, POLICY.usable_until(token)) is Action.REFRESH_OR_WAIT


@TRIES
@given(st.floats(-DAY, DAY), st.floats(0, DAY))
def test_no_setting_of_the_wall_clock_makes_a_failure_last_longer(  # F16
    jump: float, elapsed: float
) -> None:
    now = Instant(NOW.wall + jump, NOW.boot + elapsed)
    assert 0 <= failure(pause=60).remaining(now) <= max(0, 60 - elapsed) + 1e-6


@pytest.mark.parametrize("back", [DAY, HOUR / 2], ids=["a day", "half an hour"])
def test_a_copy_without_a_boot_time_does_not_outlive_its_original(back: float) -> None:  # F16
    now = Instant(NOW.wall + HOUR - back, NOW.boot + HOUR)
    copy = Entry.of_token(issued(reading=False))
    snapshot = merge_shared(held(issued()), copy, now, POLICY, jitter_fraction=0.0, may_adopt=True)
    assert not snapshot.usable(now)


class Step(NamedTuple):
    """One step: time passes, a clock may be set, and a renewal or a poll has a result."""

    elapsed: float
    jump: float
    renewal: bool
    kind: str
    earlier: int
    age: float
    lifetime: float


steps = st.builds(
    Step,
    elapsed=st.floats(0, 2000),
    jump=st.sampled_from([0.0, 0.0, 0.0, HOUR, -HOUR, DAY, -DAY]),
    renewal=st.booleans(),
    kind=st.sampled_from(["token", "copy", "undated", "failure", "revocation", "nothing"]),
    earlier=st.integers(0, 3),
    age=st.floats(0, 2 * HOUR),
    lifetime=lifetimes,
)


def brought(step: Step, number: int, now: Instant, seen: list[Token]) -> Entry:
    """A result about a new token, or about one of an earlier step."""
    at = now.after(-step.age)
    value = f"token-{len(seen)}"
    seen.append(issued(at, value=value, lifetime=step.lifetime, generation=number))
    token = seen[max(0, len(seen) - 1 - step.earlier)]
    entries = {
        "token": Entry.of_token(seen[-1]),
        "copy": Entry.of_token(token),
        "undated": Entry.of_token(replace(token, issued_boot=None)),
        "failure": Entry.of_failure(failure(now, pause=step.lifetime, generation=number)),
        "revocation": Entry.of_revocation(token.generation),
        "nothing": Entry(),
    }
    return entries[step.kind]


def after(snapshot: Snapshot, step: Step, entry: Entry, now: Instant, fraction: float) -> Snapshot:
    """`snapshot` after `step`; a renewal adopts a usable token, as the protocol does."""
    options: dict[str, Any] = {"jitter_fraction": fraction}
    if not step.renewal:
        return merge_shared(snapshot, entry, now, POLICY, may_adopt=True, **options)
    token = entry.token if entry.token and POLICY.usable(entry.token, now) else None
    failed: Failure | None = entry.outage
    source = Source.GRANT if failed else Source.STORE
    result = Result(source=source, entry=entry, token=token, failure=failed)
    return apply_result(snapshot, result, now, POLICY, **options)


@TRIES
@given(st.lists(steps, max_size=12), draws)
def test_no_snapshot_outlives_its_token_on_either_clock_and_none_fails_without_a_reason(  # F16
    sequence: list[Step], fraction: float
) -> None:
    snapshot, now, seen = EMPTY, NOW, list[Token]()
    for number, step in enumerate(sequence):
        now = Instant(now.wall + step.elapsed + step.jump, now.boot + step.elapsed)
        before, entry = snapshot, brought(step, number, now, seen)
        snapshot = after(before, step, entry, now, fraction)
        check_invariants(snapshot, now)
        if before.usable(now) and before.token is not None:
            check_live_token(before.token, snapshot)


def check_invariants(snapshot: Snapshot, now: Instant) -> None:
    token = snapshot.token
    if snapshot.usable(now):
        assert token is not None
        assert token.issued_boot is not None
        assert now.wall < token.expires_at
        assert now.boot < token.issued_boot + token.lifetime
        assert snapshot.header == f"Bearer {token.value}"
        assert not snapshot.entry.kills(token)
    if decide(snapshot, now) is Action.FAIL:
        assert snapshot.failure is not None


def check_live_token(own: Token, snapshot: Snapshot) -> None:
    """Check that a live token is only replaced by a newer one, or ended by a revocation."""
    token = snapshot.token
    if token is None or token.value != own.value:
        newer = token is not None and token.order > own.order
        assert newer or snapshot.entry.kills(own)
