"""The renewal protocol: its effects, their order, and what it does with their results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evertoken.core.effects import (
    Hash,
    Hold,
    Load,
    Lock,
    LockTimedOut,
    Publish,
    Request,
    Revoke,
    Save,
)
from evertoken.core.entry import NOTHING, Entry, normalised
from evertoken.core.failure import Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.outcome import Source
from evertoken.core.state import EMPTY, Snapshot, with_failure, with_rejected, with_token
from evertoken.errors import GrantRefused, GrantUnavailable, InvalidTokenResponse, TokenError
from support.core_script import POLICY, READING, Script
from support.core_values import GENERATION, HOUR, KEY, NOW, ago, failure, issued, refusal

if TYPE_CHECKING:
    from evertoken.core.token import Token

NEW = issued(ago(60), value="new")
DUE = issued(ago(HOUR - 100), value="due")
OVERDUE = issued(ago(HOUR - 60), value="overdue")
EXPIRED = issued(ago(2 * HOUR), value="expired")
DOWN = GrantUnavailable("down", status=503, transient=True)
REFUSED = GrantRefused("no", status=400, error="invalid_grant")
SALT = b"salt"


def held(token: Token) -> Snapshot:
    snapshot = with_token(EMPTY, token, NOW, POLICY, jitter_fraction=0)
    return replace(snapshot, key=KEY, fingerprint=READING.fingerprint)


def refused(*hashes: bytes) -> Entry:
    each = (refusal(credentials_hash=one) for one in hashes)
    return normalised(Entry(failures=tuple(each), salt=SALT))


# -- a grant ---------------------------------------------------------------------------------------


def test_a_token_is_requested_under_every_lock_and_saved_far_to_near() -> None:
    script = Script(stores=[NOTHING, NOTHING])
    result = script.renew()
    assert script.names() == [
        "Lock 0", "Load 0", "Lock 1", "Load 1", "Request", "Save 1", "Save 0",
    ]  # fmt: skip
    assert result.source is Source.GRANT
    assert result.token is not None
    assert result.token.value == "granted"
    assert [store.token for store in script.stores] == [result.token] * 2
    assert (result.key, result.fingerprint) == (KEY, READING.fingerprint)


def test_a_token_is_dated_and_ordered_from_before_its_request() -> None:
    script = Script(latency=5.0, answers=[issued(ago(9 * HOUR), lifetime=300, generation=7)])
    token = script.renew().token
    assert token is not None
    assert (token.issued_at, token.issued_boot, token.lifetime) == (*NOW, 300)
    assert token.generation == GENERATION


def test_a_token_is_newer_than_anything_known_whatever_the_clock_says() -> None:
    known = Entry(revoked_through=GENERATION + 50)
    script = Script(stores=[NOTHING, known])
    token = script.renew().token
    assert token is not None
    assert token.generation == GENERATION + 51


def test_generations_follow_the_clock_that_the_fleet_shares() -> None:  # S58
    token = Script(ahead=100.0).renew().token
    assert token is not None
    assert (token.issued_at, token.generation) == (NOW.wall, GENERATION + 100)
    future = issued(generation=GENERATION + 40_000_000)
    kept = Script(stores=[Entry.of_token(future)], ahead=20_000_000.0)
    assert kept.renew().token == future


def test_the_request_sends_the_credentials_that_were_read() -> None:  # S51
    script = Script()
    script.renew()
    assert [each.reading for each in script.log if isinstance(each, Request)] == [READING]
    assert type(script.log[0]).__name__ == "ReadCredentials"


def test_without_stores_a_token_is_still_granted() -> None:
    assert Script(stores=[]).renew().source is Source.GRANT


def test_a_result_has_its_duration_and_its_deadline() -> None:
    result = Script(latency=61.0).renew()
    assert result.seconds == 61
    assert not result.late(NOW.after(60))
    assert result.late(NOW.after(61))


# -- adoption --------------------------------------------------------------------------------------


def test_a_token_that_a_sibling_saved_is_adopted() -> None:
    script = Script(stores=[NOTHING, Entry.of_token(NEW)])
    result = script.renew()
    assert (result.source, result.store, result.token) == (Source.STORE, 1, NEW)
    assert script.count(Request) == 0
    assert script.stores[0].token == NEW


def test_a_token_in_memory_is_adopted_only_after_the_farther_stores_were_loaded() -> None:
    script = Script(stores=[Entry.of_token(NEW), Entry.of_revocation(NEW.generation)])
    result = script.renew()
    assert result.source is Source.GRANT
    assert script.names()[:4] == ["Lock 0", "Load 0", "Load 1", "Lock 1"]
    assert script.stores[0].revoked_through == NEW.generation


def test_a_nearer_store_is_corrected_by_a_farther_one() -> None:
    newer = replace(NEW, value="newer", generation=NEW.generation + 1)
    script = Script(stores=[Entry.of_token(NEW), Entry.of_token(newer)])
    assert script.renew().token == newer
    assert script.stores[0].token == newer


def test_a_token_of_other_credentials_is_kept_in_the_stores_but_not_adopted() -> None:  # S50
    script = Script(stores=[NOTHING, Entry.of_token(NEW)], foreign={"new"})
    result = script.renew()
    assert result.source is Source.GRANT
    assert result.token is not None
    assert result.token.generation > NEW.generation
    busy = Script(stores=[Entry.of_token(NEW)], foreign={"new"}, answers=[DOWN] * 3)
    assert busy.renew().token is None
    assert busy.stores[0].token == NEW


def test_a_due_token_is_not_adopted_by_a_manager_with_a_usable_one() -> None:
    script = Script(stores=[Entry.of_token(replace(DUE, value="other"))])
    assert script.renew(held(DUE)).source is Source.GRANT
    script = Script(stores=[Entry.of_token(DUE)])
    assert script.renew().token == DUE


def test_an_expired_token_is_not_adopted() -> None:
    assert Script(stores=[Entry.of_token(EXPIRED)]).renew().source is Source.GRANT


def test_a_forced_renewal_adopts_only_what_was_issued_since() -> None:
    assert Script(stores=[Entry.of_token(NEW)]).renew(force=True).source is Source.GRANT
    since = issued(NOW, value="since")
    assert Script(stores=[Entry.of_token(since)]).renew(force=True).token == since


def test_a_rejected_token_is_not_adopted_again() -> None:
    rejected = with_rejected(held(NEW))
    script = Script(stores=[Entry.of_token(NEW)])
    assert script.renew(rejected).source is Source.GRANT
    other = replace(DUE, value="other", generation=NEW.generation + 1)
    script = Script(stores=[Entry.of_token(other)])
    assert script.renew(rejected).token == other


# -- locks -----------------------------------------------------------------------------------------


def test_behind_a_busy_lock_the_store_is_read_between_slices_of_waiting() -> None:
    script = Script(holds={0: [Hold.BUSY] * 99})
    result = script.renew()
    waits = [each.timeout for each in script.log if isinstance(each, Lock)]
    assert waits == [1.0] * 15
    assert script.count(Load) == len(waits)
    # a lock only saves grants
    assert script.count(LockTimedOut) == 1
    assert result.source is Source.GRANT


def test_a_token_saved_by_the_lock_holder_ends_the_wait() -> None:
    script = Script(stores=[Entry.of_token(NEW)], holds={0: [Hold.BUSY]})
    assert script.renew().token == NEW


@pytest.mark.parametrize("hold", [Hold.HELD, Hold.ABSENT])
def test_a_store_without_a_lock_is_used_without_one(hold: Hold) -> None:
    script = Script(holds={0: [hold]})
    assert script.renew().source is Source.GRANT
    assert script.count(LockTimedOut) == 0


def test_a_busy_lock_postpones_a_renewal_that_no_caller_waits_for() -> None:
    script = Script(holds={0: [Hold.BUSY]})
    result = script.renew(held(DUE))
    assert result.source is Source.BUSY
    assert (result.token, result.failure, result.error) == (None, None, None)
    assert [each for each in script.log if isinstance(each, Lock)] == [Lock(0, 0.0)]
    assert script.count(Save) == 0


def test_an_overdue_renewal_waits_for_the_lock_though_a_token_is_usable() -> None:
    script = Script(holds={0: [Hold.BUSY, Hold.BUSY]})
    assert script.renew(held(OVERDUE)).source is Source.GRANT
    assert script.count(Lock) == 3


def test_a_manager_that_was_blocked_before_waits_for_the_rest_of_the_timeout() -> None:
    script = Script(holds={0: [Hold.BUSY] * 99})
    script.renew(replace(EMPTY, blocked_since=NOW.boot - 12.5, due_at=NOW))
    assert [each.timeout for each in script.log if isinstance(each, Lock)] == [1.0, 1.0, 0.5]
    script = Script(holds={0: [Hold.BUSY] * 99})
    script.renew(replace(EMPTY, blocked_since=NOW.boot - 99, due_at=NOW))
    assert [each.timeout for each in script.log if isinstance(each, Lock)] == [0.0]


def test_a_lock_that_was_busy_long_ago_gets_the_full_timeout_again() -> None:
    script = Script(holds={0: [Hold.BUSY] * 99})
    script.renew(replace(EMPTY, blocked_since=NOW.boot - 99, due_at=ago(60)))
    assert sum(each.timeout for each in script.log if isinstance(each, Lock)) == 15


def test_jitter_keeps_siblings_from_giving_up_together() -> None:
    script = Script(holds={0: [Hold.BUSY] * 99})
    script.renew(jitter_fraction=0.8)
    assert sum(each.timeout for each in script.log if isinstance(each, Lock)) == 18


def test_a_farther_lock_held_by_another_thread_ends_the_renewal_busy() -> None:
    script = Script(stores=[NOTHING, NOTHING], holds={1: [Hold.BUSY]})
    assert script.renew(held(DUE)).source is Source.BUSY


# -- the request -----------------------------------------------------------------------------------


def test_a_cold_renewal_is_tried_three_times() -> None:
    script = Script(answers=[DOWN, DOWN])
    assert script.renew().source is Source.GRANT
    assert script.slept == [0.2, 0.4]
    script = Script(answers=[DOWN] * 9)
    assert script.renew().failure is not None
    assert script.count(Request) == 3


@pytest.mark.parametrize(
    ("status", "tries"),
    [(None, 3), (408, 3), (425, 3), (429, 3), (500, 3), (503, 3), (404, 1), (403, 1), (302, 1)],
)
def test_only_a_passing_error_is_tried_again_at_once(status: int | None, tries: int) -> None:  # S52
    error = GrantUnavailable("no", status=status, transient=True)
    script = Script(answers=[error] * 9)
    script.renew()
    assert script.count(Request) == tries


@pytest.mark.parametrize(
    ("snapshot", "stored"),
    [
        (held(DUE), NOTHING),
        (replace(EMPTY, failure=failure(ago(61))), NOTHING),
        (EMPTY, Entry.of_failure(failure(ago(61)))),
    ],
    ids=["a token is usable", "a failure is known", "a sibling's failure is known"],
)
def test_a_renewal_that_is_not_cold_sends_one_request(snapshot: Snapshot, stored: Entry) -> None:
    script = Script(stores=[stored], answers=[DOWN] * 9)
    script.renew(snapshot)
    assert script.count(Request) == 1


def test_a_request_that_hung_or_must_wait_is_not_tried_again() -> None:
    assert tries(Script(answers=[DOWN] * 9, latency=2.0)) == 1
    later = GrantUnavailable("busy", status=429, retry_after=1.5, transient=True)
    assert tries(Script(answers=[later] * 9)) == 1
    lasting = GrantUnavailable("TLS distrust", transient=False)
    assert tries(Script(answers=[lasting] * 9)) == 1


def tries(script: Script) -> int:
    script.renew()
    return script.count(Request)


def test_two_grants_without_force_are_a_second_apart() -> None:  # S18
    just_now = issued(ago(0.25), value="over", lifetime=0)
    script = Script(stores=[Entry.of_token(just_now)])
    assert script.renew().source is Source.GRANT
    assert script.slept == [0.75]
    assert Script(stores=[Entry.of_token(just_now)]).renew(force=True).seconds == 0
    assert Script(stores=[Entry.of_token(EXPIRED)]).renew().seconds == 0
    undated = replace(EXPIRED, issued_boot=None)
    assert Script(stores=[Entry.of_token(undated)]).renew().seconds == 0
    # a reading from the future belongs to another boot
    ahead = replace(EXPIRED, issued_boot=NOW.boot + 5)
    assert Script(stores=[Entry.of_token(ahead)]).renew().seconds == 0


# -- an outage -------------------------------------------------------------------------------------


def test_an_outage_is_saved_for_the_siblings_and_doubles() -> None:
    script = Script(answers=[InvalidTokenResponse("a page", status=200)])
    result = script.renew()
    first = result.failure
    assert isinstance(first, Failure)
    assert (first.kind, first.count, first.until) == (FailureKind.UNAVAILABLE, 1, NOW.wall + 1)
    assert script.stores[0].outage == first
    assert result.error is first.error
    again = Script(stores=script.stores, now=NOW.after(5), answers=[DOWN]).renew().failure
    assert again is not None
    assert (again.count, again.until - again.at) == (2, 2)
    assert again.generation > first.generation


def test_a_siblings_outage_is_waited_out() -> None:
    script = Script(stores=[NOTHING, Entry.of_failure(failure())])
    result = script.renew()
    assert (result.source, result.failure) == (Source.STORE, failure())
    assert script.count(Request) == 0
    forced = Script(stores=[NOTHING, Entry.of_failure(failure())])
    assert forced.renew(force=True).source is Source.GRANT


def test_an_outage_is_tried_again_when_the_token_ends() -> None:
    ending = issued(ago(HOUR - 5), value="ending")
    stored = Entry(ending, failures=(failure(ago(10), pause=600, generation=GENERATION),))
    assert Script(stores=[stored]).renew().source is Source.GRANT


def test_a_usable_token_is_returned_although_an_outage_is_known() -> None:
    script = Script(stores=[Entry(NEW, failures=(failure(),))])
    result = script.renew()
    assert (result.token, result.failure, result.error) == (NEW, failure(), None)


def test_a_success_clears_the_outage_for_everyone() -> None:
    script = Script(stores=[Entry.of_failure(failure(ago(61)))])
    script.renew()
    assert script.stores[0].failures == ()


def test_the_error_of_a_late_renewal_is_neither_raised_nor_remembered() -> None:  # F30
    script = Script(latency=61.0, answers=[DOWN])
    result = script.renew()
    assert (result.source, result.failure, result.error) == (Source.FAILED_LATE, None, None)
    assert script.stores[0] == NOTHING
    verdict = Script(latency=61.0, answers=[REFUSED]).renew()
    assert isinstance(verdict.error, GrantRefused)


# -- a local failure -------------------------------------------------------------------------------


def test_a_failure_before_anything_was_sent_is_not_stored() -> None:  # S53
    error = GrantUnavailable("no route", transient=True)
    vars(error)["local"] = True
    script = Script(stores=[NOTHING, NOTHING], answers=[error] * 3)
    result = script.renew()
    assert result.failure is not None
    assert result.failure.kind is FailureKind.LOCAL
    assert script.stores == [NOTHING, NOTHING]
    assert script.count(Save) == 0


def test_a_local_failure_is_remembered_and_doubles_in_its_process() -> None:
    own = failure(kind=FailureKind.LOCAL)
    waiting = with_failure(EMPTY, own, NOW, POLICY)
    script = Script()
    assert script.renew(waiting).failure == own
    assert script.count(Request) == 0
    error = GrantUnavailable("no route", transient=True)
    vars(error)["local"] = True
    later = Script(now=NOW.after(61), answers=[error])
    second = later.renew(waiting).failure
    assert second is not None
    assert second.count == 2


def test_credentials_that_cannot_be_read_are_a_local_failure() -> None:  # S53
    script = Script(reading=GrantRefused("the password's callable raised KeyError"))
    result = script.renew()
    assert script.names() == []
    assert result.failure is not None
    assert result.failure.kind is FailureKind.LOCAL
    assert (result.key, result.fingerprint) == (None, b"")


# -- refused credentials ---------------------------------------------------------------------------


def test_waiting_callers_are_released_before_the_slow_hash() -> None:
    script = Script(answers=[REFUSED])
    result = script.renew()
    assert script.names() == ["Lock 0", "Load 0", "Request", "Publish", "Hash", "Save 0"]
    [published] = [each.result for each in script.log if isinstance(each, Publish)]
    assert published.failure == result.failure
    assert published.error is not None


def test_a_refusal_is_saved_by_its_slow_hash_and_remembered_by_the_fingerprint() -> None:  # S48
    script = Script(answers=[REFUSED])
    own = script.renew().failure
    assert own is not None
    assert own.credentials_hash == READING.fingerprint
    assert script.stores[0].salt == SALT
    assert script.stores[0].refusals == (replace(own, credentials_hash=b"hash"),)
    assert own.until - own.at == POLICY.refusal_cooldown


def test_the_same_credentials_are_not_posted_again_during_the_cool_down() -> None:  # S48
    stored = refused(b"other", b"hash")
    result = (script := Script(stores=[stored])).renew()
    assert script.count(Request) == 0
    assert result.failure is not None
    assert result.failure.credentials_hash == READING.fingerprint
    assert Script(stores=[stored], hashed=b"third").renew().source is Source.GRANT
    assert Script(stores=[stored]).renew(force=True).source is Source.GRANT


def test_an_ended_cool_down_needs_no_hash() -> None:
    script = Script(stores=[refused(b"other")], now=NOW.after(400), hashed=b"third")
    script.renew()
    assert script.names()[:3] == ["Lock 0", "Load 0", "Request"]


def test_a_remembered_refusal_needs_neither_a_lock_nor_a_store() -> None:
    own = refusal(credentials_hash=READING.fingerprint)
    waiting = replace(with_failure(EMPTY, own, NOW, POLICY), key=KEY)
    script = Script()
    result = script.renew(waiting)
    assert (result.source, result.failure) == (Source.REMEMBERED, own)
    assert script.names() == []


def test_changed_credentials_end_a_cool_down() -> None:  # S51
    own = refusal(credentials_hash=b"of the old password")
    waiting = replace(with_failure(EMPTY, own, NOW, POLICY), key=KEY)
    assert Script().renew(waiting).source is Source.GRANT
    assert Script().renew(with_failure(EMPTY, own, NOW, POLICY), force=True).token is not None


def test_after_a_401_the_stores_are_loaded_although_a_refusal_is_remembered() -> None:
    own = refusal(credentials_hash=READING.fingerprint)
    waiting = with_failure(held(DUE), own, NOW, POLICY)
    script = Script(stores=[Entry.of_token(NEW)])
    assert script.renew(with_rejected(waiting)).token == NEW
    script = Script()
    assert script.renew(with_rejected(waiting)).source is Source.REMEMBERED


@pytest.mark.parametrize(
    ("snapshot", "stored", "count"),
    [
        (EMPTY, NOTHING, 1),
        (EMPTY, refused(b"hash"), 2),
        (EMPTY, refused(b"other"), 1),
        (replace(EMPTY, failure=refusal(credentials_hash=READING.fingerprint)), NOTHING, 2),
        (replace(EMPTY, failure=refusal(credentials_hash=b"old password")), NOTHING, 1),
        (replace(EMPTY, failure=failure()), NOTHING, 1),
    ],
    ids=range(6),
)
def test_refusals_of_the_same_credentials_are_counted(
    snapshot: Snapshot, stored: Entry, count: int
) -> None:
    script = Script(stores=[stored], now=NOW.after(400), answers=[REFUSED])
    result = script.renew(snapshot)
    assert result.failure is not None
    assert result.failure.count == count
    saved = script.stores[0].refusal_of(b"hash")
    assert saved is not None
    assert saved.count == count


def test_a_refusal_without_a_hash_is_not_stored() -> None:
    script = Script(answers=[REFUSED], hashed=b"")
    assert script.renew().failure is not None
    assert script.stores[0].refusals == ()


def test_a_success_ends_the_cool_down_of_its_credentials_everywhere() -> None:
    script = Script(stores=[refused(b"hash", b"other")])
    script.renew(force=True)
    record = script.stores[0].refusal_of(b"hash")
    assert record is not None
    assert (record.count, record.remaining(NOW)) == (0, 0)
    other = script.stores[0].refusal_of(b"other")
    assert other is not None
    assert other.remaining(NOW) > 0
    before = script.stores[0].refusals
    again = Script(stores=script.stores, now=NOW.after(5))
    again.renew(force=True)
    assert again.stores[0].refusals == before


def test_a_success_of_other_credentials_ends_no_cool_down() -> None:
    script = Script(stores=[refused(b"other")], hashed=b"third")
    script.renew()
    assert script.stores[0].refusals == refused(b"other").refusals


# -- identity and revocation -----------------------------------------------------------------------


def test_nothing_is_carried_over_from_the_old_identity() -> None:  # S49
    before = with_failure(held(DUE), failure(), NOW, POLICY)
    before = replace(before, key=replace(KEY, username="other"))
    script = Script(stores=[NOTHING, NOTHING])
    result = script.renew(with_rejected(before))
    assert result.key == KEY
    assert result.entry.token is not None
    assert result.entry.token.value == "granted"
    assert "due" not in [store.token and store.token.value for store in script.stores]


def test_a_token_revoked_in_flight_is_revoked_at_the_server() -> None:
    script = Script(during={0: Entry.of_revocation(GENERATION)})
    result = script.renew()
    assert (result.source, result.token, result.error) == (Source.REVOKED, None, None)
    assert script.count(Revoke) == 1
    assert result.entry.revoked_through == GENERATION
    assert script.stores[0].token is None


def test_a_store_that_fails_to_save_does_not_stop_a_renewal() -> None:
    script = Script(stores=[NOTHING, NOTHING], broken={1})
    assert script.renew().token is not None
    assert script.stores[0].token is not None
    assert script.stores[1] == NOTHING


def test_a_hash_is_computed_only_if_refusals_are_known() -> None:
    script = Script(answers=[TokenError("any")])
    script.renew()
    assert script.count(Hash) == 0


def test_an_error_after_the_deadline_is_not_a_failure() -> None:  # F30
    script = Script(latency=4 * HOUR, answers=[DOWN])
    result = script.renew()
    assert result.source is Source.FAILED_LATE
    assert result.failure is None
    assert script.stores == [NOTHING]


def test_the_result_names_the_store_that_holds_the_token() -> None:
    script = Script(stores=[Entry.of_token(EXPIRED), Entry.of_token(NEW)])
    result = script.renew()
    assert result.token == NEW
    assert result.store == 1
