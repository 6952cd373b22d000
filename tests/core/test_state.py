"""The snapshot of a manager, the decision of a caller, and the transitions of the snapshot."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evertoken.core.entry import FAR_FUTURE, NOTHING, Entry, join
from evertoken.core.failure_kind import FailureKind
from evertoken.core.hold import Hold
from evertoken.core.instant import Instant
from evertoken.core.login import Login
from evertoken.core.outcome import Result, Source, apply_result, postponed, token_for_waiter
from evertoken.core.policy import RefreshPolicy
from evertoken.core.state import (
    EMPTY,
    Action,
    Snapshot,
    decide,
    invalidated,
    merge_shared,
    over,
    revoked,
    with_failure,
    with_fast_path,
    with_rejected,
    with_token,
    without_failure,
    without_fast_path,
    without_token,
)
from support.core_values import (
    DAY,
    GENERATION,
    HOUR,
    KEY,
    NOW,
    ago,
    failure,
    issued,
    refusal,
)

if TYPE_CHECKING:
    from evertoken.core.failure import Failure
    from evertoken.core.token import Token

POLICY = RefreshPolicy()
IN_A_MINUTE, A_MINUTE_AGO = NOW.after(60), NOW.after(-60)
NEW = issued(NOW, value="new")
OLD = issued(ago(HOUR - 60), value="old")
"""Usable and due."""


def held(token: Token, now: Instant = NOW, snapshot: Snapshot = EMPTY) -> Snapshot:
    return with_token(snapshot, token, now, POLICY, jitter_fraction=0)


def merged(snapshot: Snapshot, entry: Entry | None, *, may_adopt: bool = True) -> Snapshot:
    options: dict[str, Any] = {"jitter_fraction": 0, "may_adopt": may_adopt}
    return merge_shared(snapshot, entry, NOW, POLICY, **options)


def applied(snapshot: Snapshot, now: Instant = NOW, **fields: Any) -> Snapshot:
    result = Result(**{"source": Source.GRANT, "key": KEY, **fields})
    return apply_result(snapshot, result, now, POLICY, jitter_fraction=0)


# -- deciding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usable", "due", "action"),
    [
        (True, False, Action.USE),
        (True, True, Action.REFRESH_IF_FREE),
        (False, True, Action.REFRESH_OR_WAIT),
        (False, False, Action.FAIL),
    ],
    ids=["fresh", "stale", "expired", "cooling"],
)
def test_two_booleans_decide(*, usable: bool, due: bool, action: Action) -> None:
    snapshot = Snapshot(
        usable_until=IN_A_MINUTE if usable else A_MINUTE_AGO,
        due_at=A_MINUTE_AGO if due else IN_A_MINUTE,
    )
    assert decide(snapshot, NOW) is action


def test_a_caller_without_a_token_waits() -> None:
    assert decide(EMPTY, NOW) is Action.REFRESH_OR_WAIT
    assert EMPTY.seconds_left(NOW) == 0


@pytest.mark.parametrize(
    ("seconds", "action"),
    [
        (0, Action.USE),
        (3479, Action.USE),
        (3480, Action.REFRESH_IF_FREE),
        (3589, Action.REFRESH_IF_FREE),
        (3590, Action.REFRESH_OR_WAIT),
        (DAY, Action.REFRESH_OR_WAIT),
    ],
)
def test_a_token_of_an_hour_is_fresh_then_stale_then_expired(
    seconds: float, action: Action
) -> None:
    assert decide(held(issued()), NOW.after(seconds)) is action


@pytest.mark.parametrize(
    ("wall", "boot", "action"),
    [
        (-DAY, 60, Action.USE),
        (-DAY, 3500, Action.REFRESH_IF_FREE),
        (-DAY, 3600, Action.REFRESH_OR_WAIT),
        (DAY, 60, Action.REFRESH_OR_WAIT),
        (60, 3600, Action.REFRESH_OR_WAIT),
    ],
)
def test_either_clock_ends_a_token(wall: float, boot: float, action: Action) -> None:  # F16
    now = Instant(NOW.wall + wall, NOW.boot + boot)
    assert decide(held(issued()), now) is action


def test_callers_wait_while_a_rejected_token_is_replaced() -> None:
    rejected = with_rejected(with_fast_path(held(issued()), NOW, POLICY))
    assert decide(rejected, NOW) is Action.REFRESH_OR_WAIT
    assert not rejected.fresh_from <= NOW.wall < rejected.fresh_until
    # the API may have rejected the caller, not the token
    assert decide(applied(rejected, failure=failure()), NOW) is Action.USE
    assert decide(applied(rejected, token=NEW), NOW) is Action.USE


def test_a_snapshot_is_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(EMPTY, "token", None)  # noqa: B010  mypy would object to the assignment


# -- a token ---------------------------------------------------------------------------------------


def test_a_new_token_sets_the_header_and_clears_the_failure() -> None:  # S17
    waiting = replace(EMPTY, key=KEY, fingerprint=b"f", failure=failure(), blocked_since=1.0)
    snapshot = held(issued(value="abc"), snapshot=waiting)
    assert snapshot.header == "Bearer abc"
    assert "abc" not in repr(snapshot)  # S46
    assert (snapshot.failure, snapshot.blocked_since) == (None, None)
    assert (snapshot.key, snapshot.fingerprint) == (KEY, b"f")
    assert snapshot.entry == Entry.of_token(issued(value="abc"))


def test_a_token_of_another_boot_is_held_to_the_clock_since_this_one() -> None:  # F16
    snapshot = held(issued(ago(600), reading=False))
    assert snapshot.usable_until == NOW.after(HOUR - 10 - 600)
    set_back = Instant(NOW.wall - DAY, NOW.boot + HOUR)
    assert decide(snapshot, set_back) is Action.REFRESH_OR_WAIT


def test_a_token_slightly_from_the_future_counts_from_now() -> None:
    snapshot = held(issued(NOW.after(30), reading=False))
    assert snapshot.usable_until.boot == NOW.boot + HOUR - 10


def test_seconds_left_follow_the_clock_that_ends_the_token_first() -> None:
    snapshot = held(issued())
    assert snapshot.seconds_left(Instant(NOW.wall + 100, NOW.boot + 5)) == HOUR - 110
    assert snapshot.seconds_left(Instant(NOW.wall - DAY, NOW.boot + 5)) == HOUR - 15


# -- the fast path ---------------------------------------------------------------------------------


def test_the_one_clock_check_is_disabled_at_first() -> None:
    for snapshot in (
        EMPTY,
        held(issued()),
        without_fast_path(with_fast_path(held(NEW), NOW, POLICY)),
    ):
        assert not snapshot.fresh_from <= NOW.wall < snapshot.fresh_until


def test_the_one_clock_check_is_enabled_until_the_next_poll_or_renewal() -> None:
    patient = RefreshPolicy(recheck=2 * HOUR)
    snapshot = with_fast_path(held(issued()), NOW, POLICY)
    assert (snapshot.fresh_from, snapshot.fresh_until) == (NOW.wall, NOW.wall + POLICY.recheck)
    assert with_fast_path(snapshot, NOW, patient).fresh_until == NOW.wall + HOUR - 120
    assert with_fast_path(snapshot, NOW, POLICY, poll_in=0.2).fresh_until == NOW.wall + 0.2
    assert with_fast_path(snapshot, NOW, POLICY, poll_in=-5).fresh_until == NOW.wall


@settings(max_examples=80, deadline=None)
@given(st.floats(0, 2 * HOUR), st.floats(-DAY, DAY), st.integers(0, 2 * 86400))
def test_while_the_one_clock_check_passes_both_clocks_say_fresh(
    lifetime: float, stepped: float, later: int
) -> None:
    now = Instant(NOW.wall + stepped, NOW.boot)
    snapshot = held(issued(lifetime=lifetime), now)
    if decide(snapshot, now) is Action.USE:
        snapshot = with_fast_path(snapshot, now, RefreshPolicy(recheck=DAY))
        then = now.after(later)
        if snapshot.fresh_from <= then.wall < snapshot.fresh_until - 1e-6:
            assert decide(snapshot, then) is Action.USE


# -- a failure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FailureKind)
def test_a_live_token_outlives_a_failure_of_any_kind(kind: FailureKind) -> None:
    failed = failure(NOW, kind=kind, pause=2 * HOUR)
    snapshot = with_failure(held(OLD), failed, NOW, POLICY)
    assert decide(snapshot, NOW) is Action.USE
    assert decide(snapshot, NOW.after(49)) is Action.USE
    # a request is tried again at its end
    assert decide(snapshot, NOW.after(50)) is Action.REFRESH_OR_WAIT


def test_without_a_token_a_failure_is_waited_out() -> None:
    snapshot = with_failure(replace(EMPTY, blocked_since=1.0), failure(), NOW, POLICY)
    assert decide(snapshot, NOW.after(59)) is Action.FAIL
    assert decide(snapshot, NOW.after(60)) is Action.REFRESH_OR_WAIT
    assert snapshot.blocked_since is None


def test_refused_credentials_are_read_again_once_per_recheck() -> None:  # S48
    snapshot = with_failure(EMPTY, refusal(), NOW, POLICY)
    assert decide(snapshot, NOW.after(0.9)) is Action.FAIL
    assert decide(snapshot, NOW.after(1)) is Action.REFRESH_OR_WAIT


# -- a busy lock -----------------------------------------------------------------------------------


def test_behind_a_busy_lock_a_live_token_is_used_and_the_next_try_is_soon() -> None:
    stale = NOW.after(3500)
    snapshot = postponed(held(issued()), stale, POLICY)
    assert decide(snapshot, stale) is Action.USE
    assert decide(snapshot, stale.after(POLICY.recheck)) is Action.REFRESH_IF_FREE
    assert postponed(snapshot, stale.after(1), POLICY).blocked_since == stale.boot


def test_behind_a_busy_lock_the_next_try_for_a_short_token_is_sooner() -> None:  # F28
    short = held(issued(lifetime=8))
    assert postponed(short, NOW, POLICY).due_at == NOW.after(0.5)


def test_a_pause_for_another_reason_does_not_count_as_waiting_for_a_lock() -> None:
    behind = postponed(held(issued()), NOW, POLICY)
    assert postponed(behind, NOW.after(1), POLICY, blocked=False).blocked_since is None


def test_a_pause_for_a_sibling_ends_with_the_token() -> None:
    last = NOW.after(HOUR - 10.5)
    snapshot = postponed(held(issued()), last, POLICY)
    assert decide(snapshot, last.after(0.5)) is Action.REFRESH_OR_WAIT


# -- a poll ----------------------------------------------------------------------------------------


def test_a_newer_token_of_a_sibling_is_adopted() -> None:
    assert merged(held(OLD), Entry.of_token(NEW)).token == NEW


def test_an_absent_entry_and_an_older_token_change_nothing() -> None:
    snapshot = held(NEW)
    assert merged(snapshot, None) is snapshot
    assert merged(snapshot, Entry.of_token(OLD)) is snapshot
    assert merged(snapshot, snapshot.entry) is snapshot


def test_an_expired_token_of_a_sibling_is_not_adopted() -> None:
    expired = issued(ago(2 * HOUR))
    assert merged(EMPTY, Entry.of_token(expired)).token is None


def test_the_token_of_other_credentials_is_known_but_not_adopted() -> None:  # S50
    snapshot = merged(held(OLD), Entry.of_token(NEW), may_adopt=False)
    assert snapshot.token == OLD
    assert snapshot.entry.token == NEW
    assert merged(snapshot, Entry.of_token(NEW)).token == NEW


def test_a_token_that_siblings_revoked_is_dropped() -> None:
    snapshot = merged(replace(held(OLD), key=KEY), Entry.of_revocation(OLD.generation))
    assert snapshot.token is None
    assert (snapshot.header, snapshot.key) == ("", KEY)
    assert decide(snapshot, NOW) is Action.REFRESH_OR_WAIT


def test_a_revoked_token_and_its_successor_may_arrive_together() -> None:
    snapshot = merged(held(OLD), Entry(NEW, None, OLD.generation))
    assert snapshot.token == NEW


def test_a_siblings_outage_delays_a_due_renewal() -> None:
    snapshot = merged(EMPTY, Entry.of_failure(failure()))
    assert decide(snapshot, NOW.after(59)) is Action.FAIL
    assert snapshot.failure == failure()
    assert merged(snapshot, Entry.of_failure(failure())) is snapshot


def test_a_siblings_outage_does_not_move_the_renewal_of_a_fresh_token() -> None:
    fresh = merged(held(issued(ago(60))), Entry.of_failure(failure(pause=1)))
    assert fresh.failure is None
    assert decide(fresh, NOW.after(60)) is Action.USE
    due = merged(held(OLD), Entry.of_failure(failure(pause=1)))
    assert decide(due, NOW) is Action.USE
    assert decide(due, NOW.after(1)) is Action.REFRESH_IF_FREE


@pytest.mark.parametrize(
    "entry",
    [
        Entry.of_failure(failure(ago(61))),
        Entry.of_failure(failure(ago(HOUR - 60), generation=OLD.generation - 1)),
        # only a renewal can tell whether a refusal concerns this process
        Entry.of_failure(refusal(), b"salt"),
    ],
    ids=["over", "older", "refused"],
)
def test_no_other_failure_of_siblings_delays_a_renewal(entry: Entry) -> None:
    assert decide(merged(held(OLD), entry), NOW) is Action.REFRESH_IF_FREE


def test_an_ended_outage_does_not_delay_a_renewal() -> None:
    over = Entry.of_failure(failure(ago(61)))
    assert merged(EMPTY, over).failure is None


def test_an_outage_that_began_while_a_token_lived_does_not_outlast_it() -> None:  # S52
    ended = issued(ago(HOUR))
    outage = Entry.of_failure(failure(ago(30), pause=600))
    after = merged(held(ended), outage)
    assert after.failure is None
    assert decide(after, NOW) is Action.REFRESH_OR_WAIT


def test_a_new_login_clears_the_failure_of_the_old_one() -> None:
    waiting = with_failure(EMPTY, failure(kind=FailureKind.LOCAL), NOW, POLICY)
    assert decide(waiting, NOW) is Action.FAIL
    first = Entry(login=Login("one", 1))
    assert decide(merged(waiting, first), NOW) is Action.REFRESH_OR_WAIT
    again = replace(waiting, entry=first)
    assert decide(merged(again, Entry(NEW, Login("one", 1), GENERATION)), NOW) is Action.FAIL
    assert decide(merged(again, Entry(login=Login("two", 2))), NOW) is Action.REFRESH_OR_WAIT
    assert merged(waiting, first).failure is None
    assert merged(EMPTY, first).failure is None
    without = merged(waiting, Entry.of_revocation(GENERATION))
    assert without.failure == waiting.failure


def test_a_generation_from_the_far_future_is_demoted_in_memory_too() -> None:  # S57
    future = issued(value="future", generation=int(NOW.wall + FAR_FUTURE) + 9)
    alone = merged(held(future), None)
    assert alone.token == replace(future, generation=0)
    assert decide(alone, NOW) is Action.USE
    assert merged(alone, Entry.of_token(NEW)).token == NEW
    assert merged(held(future), Entry.of_token(NEW)).token == NEW
    assert merged(held(future), Entry.of_revocation(future.generation)).token is None


def test_a_demoted_token_stays_above_the_revocations_that_it_has_survived() -> None:  # S57
    future = issued(generation=int(NOW.wall + FAR_FUTURE) + 9)
    survivor = revoked(held(future), Entry.of_revocation(5))
    assert merged(survivor, None, may_adopt=False).token == replace(future, generation=6)


# -- a result --------------------------------------------------------------------------------------


def test_a_granted_token_replaces_an_older_one() -> None:
    snapshot = applied(held(OLD), token=NEW, entry=Entry.of_token(NEW), fingerprint=b"f")
    assert snapshot.token == NEW
    assert (snapshot.key, snapshot.fingerprint) == (KEY, b"f")


def test_a_late_result_does_not_replace_a_newer_token() -> None:
    assert applied(held(NEW), token=OLD).token == NEW


def test_an_older_token_replaces_an_expired_one() -> None:
    over = held(issued(ago(2 * HOUR), generation=GENERATION + 5))
    assert applied(over, token=OLD).token == OLD


def test_a_token_revoked_in_flight_is_not_used() -> None:
    snapshot = replace(EMPTY, entry=Entry.of_revocation(GENERATION))
    after = applied(snapshot, token=NEW, entry=Entry.of_token(NEW))
    assert after.token is None
    assert decide(after, NOW) is Action.REFRESH_OR_WAIT
    assert (
        token_for_waiter(after, Result(source=Source.GRANT, token=NEW), NOW, waiting_since=NOW)
        is None
    )


def test_a_token_that_had_expired_when_it_arrived_is_served_once() -> None:  # S18
    expired = issued(lifetime=0)
    result = Result(source=Source.GRANT, token=expired, deadline=NOW.boot)
    after = apply_result(EMPTY, result, NOW, POLICY, jitter_fraction=0)
    assert token_for_waiter(after, result, NOW, waiting_since=NOW) == expired
    assert decide(after, NOW) is Action.REFRESH_OR_WAIT


def test_a_caller_that_arrives_after_the_token_expired_does_not_receive_it() -> None:  # F30
    expired = issued(ago(10), lifetime=4)
    result = Result(source=Source.GRANT, token=expired, deadline=NOW.boot)
    after = apply_result(EMPTY, result, NOW, POLICY, jitter_fraction=0)
    assert token_for_waiter(after, result, NOW, waiting_since=ago(7)) == expired
    assert token_for_waiter(after, result, NOW, waiting_since=ago(1)) is None


def test_an_expired_token_of_a_late_renewal_is_dropped() -> None:  # F30
    expired = issued(ago(2 * HOUR))
    result = Result(source=Source.GRANT, token=expired, deadline=NOW.boot - 1)
    after = apply_result(EMPTY, result, NOW, POLICY, jitter_fraction=0)
    assert after.token is None
    assert token_for_waiter(after, result, NOW, waiting_since=NOW) is None
    # the process was suspended between the result and its receiver
    early = apply_result(EMPTY, result, ago(3600), POLICY, jitter_fraction=0)
    assert token_for_waiter(early, result, NOW, waiting_since=NOW) is None


def test_a_usable_token_of_a_late_renewal_is_kept() -> None:
    assert applied(EMPTY, token=NEW, deadline=NOW.boot - 1).token == NEW


def test_a_waiting_caller_receives_the_newest_usable_token() -> None:
    assert token_for_waiter(held(NEW), Result(source=Source.BUSY), NOW, waiting_since=NOW) == NEW
    assert token_for_waiter(EMPTY, Result(source=Source.BUSY), NOW, waiting_since=NOW) is None
    over = held(issued(lifetime=0))
    assert (
        token_for_waiter(over, Result(source=Source.GRANT, token=NEW), NOW, waiting_since=NOW)
        is None
    )
    assert token_for_waiter(over, Result(source=Source.BUSY), NOW, waiting_since=NOW) is None


def test_during_a_refusal_the_credentials_are_read_once_per_recheck() -> None:  # S48
    after = applied(EMPTY, failure=refusal())
    assert after.due_at == NOW.after(POLICY.recheck)


def test_after_a_result_no_replacement_is_under_way() -> None:
    before = with_rejected(held(issued()))
    assert applied(before, source=Source.BUSY).rejected is False


def test_a_renewal_without_a_result_does_not_count_as_blocked() -> None:
    assert applied(held(OLD), source=Source.FAILED_LATE).blocked_since is None


def test_behind_a_sibling_a_renewal_is_postponed() -> None:
    after = applied(held(OLD), source=Source.BUSY)
    assert after.blocked_since == NOW.boot
    assert decide(after, NOW) is Action.USE
    assert decide(after, NOW.after(1)) is Action.REFRESH_IF_FREE


def test_nothing_is_carried_over_between_identities() -> None:  # S49
    other = replace(KEY, username="other")
    before = with_failure(replace(held(OLD), key=KEY), failure(), NOW, POLICY)
    after = applied(before, key=other, source=Source.BUSY)
    assert after.token is None
    assert after.entry == NOTHING
    assert after.failure is None
    assert after.key == other


def test_a_result_brings_the_fingerprint_of_the_credentials_that_were_read() -> None:  # S51
    before = replace(held(OLD), key=KEY, fingerprint=b"old")
    assert applied(before, fingerprint=b"new", source=Source.BUSY).fingerprint == b"new"
    assert applied(before, fingerprint=b"old", source=Source.BUSY).token == OLD


def test_a_result_without_a_reading_keeps_the_identity() -> None:
    before = replace(held(OLD), key=KEY, fingerprint=b"f")
    local: Failure = failure(kind=FailureKind.LOCAL)
    after = applied(before, key=None, failure=local)
    assert (after.key, after.fingerprint) == (KEY, b"f")
    assert after.token == OLD
    assert after.entry.failures == ()
    assert after.failure == local


# -- the end of a token ----------------------------------------------------------------------------


def test_an_invalidated_token_is_dropped_and_a_newer_one_stays() -> None:
    after = invalidated(held(OLD), "old")
    assert after.token is None
    assert after.entry.revoked_through == OLD.generation
    assert invalidated(held(NEW), "old") == held(NEW)


def test_a_token_is_invalidated_by_its_highest_generation() -> None:
    # some servers answer a second grant with the same token
    again = replace(OLD, generation=GENERATION)
    after = invalidated(held(OLD), "old", Entry.of_token(again))
    assert after.entry.revoked_through == GENERATION
    assert invalidated(EMPTY, "old", Entry.of_token(again)).entry.kills(again)


def test_a_revocation_ends_the_token_that_it_covers() -> None:
    assert revoked(held(OLD), Entry.of_revocation(OLD.generation)).token is None
    assert revoked(held(NEW), Entry.of_revocation(OLD.generation)).token == NEW


def test_a_snapshot_without_its_token_keeps_only_its_identity() -> None:
    before = with_failure(replace(held(OLD), key=KEY, fingerprint=b"f"), failure(), NOW, POLICY)
    assert without_token(before) == Snapshot(key=KEY, fingerprint=b"f", entry=before.entry)


def test_a_lock_lets_a_renewal_go_on_unless_it_is_busy() -> None:
    assert [hold for hold in Hold if not hold] == [Hold.BUSY]


def test_a_result_knows_whether_the_endpoint_was_asked() -> None:
    assert [source for source in Source if Result(source=source).asked] == [Source.GRANT]


# -- forgetting a failure --------------------------------------------------------------------------


@pytest.mark.parametrize("met", [failure(), refusal()], ids=["outage", "refusal"])
def test_a_failure_that_is_over_forbids_nothing_wherever_it_was_known(met: Failure) -> None:
    known = Entry(failures=(met,), salt=b"salt")
    joined = join(known, over(known, NOW))

    assert len(joined.failures) == 1
    assert not any(POLICY.in_force(each, None, NOW) for each in joined.failures)
    assert join(over(known, NOW), known) == joined


def test_nothing_is_over_where_nothing_failed() -> None:
    assert over(Entry.of_token(NEW), NOW) is NOTHING


@pytest.mark.parametrize("token", [NEW, OLD], ids=["fresh", "due"])
def test_without_its_failure_a_token_is_due_as_it_was_before(token: Token) -> None:
    before = held(token)
    failed = with_failure(before, refusal(), NOW, POLICY)

    assert without_failure(failed, POLICY, jitter_fraction=0).due_at == before.due_at


def test_without_a_token_and_its_failure_a_renewal_is_due_at_once() -> None:
    failed = with_failure(EMPTY, refusal(), NOW, POLICY)

    assert without_failure(failed, POLICY, jitter_fraction=0).due(NOW)
    assert without_failure(EMPTY, POLICY, jitter_fraction=0) is EMPTY
