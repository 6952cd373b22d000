"""`Entry` and `join`: the laws of the merge, and the meaning of each field."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evertoken.core.entry import (
    FAR_FUTURE,
    KEPT,
    NOTHING,
    NOTHING_REVOKED,
    Entry,
    adds,
    demoted,
    join,
    join_at,
    next_generation,
    normalised,
)
from evertoken.core.failure_kind import FailureKind
from evertoken.core.login import Initial, Login, digest_of
from evertoken.core.token import Token
from support.core_values import (
    GENERATION,
    NOW,
    ago,
    entries,
    failure,
    generations,
    issued,
    refusal,
    tokens,
)

if TYPE_CHECKING:
    import random

    from evertoken.core.failure import Failure

THOROUGH = settings(max_examples=300, deadline=None)
SALT = b"salt"


def content(entry: Entry) -> object:
    """All that an entry says, the readings and errors included that take no part in `==`."""
    token = entry.token and (entry.token, entry.token.issued_boot)
    return entry, token, [(each, each.at_boot, str(each.error)) for each in entry.failures]


def of(*failures: Failure, salt: bytes = SALT) -> Entry:
    return normalised(Entry(failures=failures, salt=salt))


# -- the laws --------------------------------------------------------------------------------------


@pytest.mark.slow
@THOROUGH
@given(entries, entries)
def test_a_join_is_commutative(a: Entry, b: Entry) -> None:
    assert content(join(a, b)) == content(join(b, a))


@pytest.mark.slow
@THOROUGH
@given(entries, entries, entries)
def test_a_join_is_associative(a: Entry, b: Entry, c: Entry) -> None:
    assert content(join(join(a, b), c)) == content(join(a, join(b, c)))


@pytest.mark.slow
@THOROUGH
@given(entries, entries)
def test_a_join_is_idempotent(a: Entry, b: Entry) -> None:
    assert content(join(a, a)) == content(a)
    assert content(join(join(a, b), b)) == content(join(a, b))
    assert content(join(a, NOTHING)) == content(a)


def test_a_join_does_not_depend_on_order_in_fields_that_equality_ignores() -> None:
    # the clock since boot is read by one process only
    one, other = of(failure(reading=True)), of(failure(reading=False))
    assert one == other
    assert content(join(one, other)) == content(join(other, one))


@pytest.mark.slow
@THOROUGH
@given(st.lists(entries, max_size=8), st.randoms(use_true_random=False))
def test_reports_may_arrive_in_any_order_and_twice(
    reports: list[Entry], dice: random.Random
) -> None:
    end = reduce(join, reports, NOTHING)
    again = reports + reports[: dice.randint(0, len(reports))]
    dice.shuffle(again)
    assert content(reduce(join, again, NOTHING)) == content(end)


@pytest.mark.slow
@THOROUGH
@given(st.lists(entries, min_size=1, max_size=8))
def test_a_newer_token_is_never_lost_and_a_dead_one_never_returns(reports: list[Entry]) -> None:
    end = reduce(join, reports, NOTHING)
    known = [each.token for each in reports if each.token is not None]
    alive = [token for token in known if token.generation > end.revoked_through]
    if end.token is None:
        assert not alive
    else:
        assert end.token.generation > end.revoked_through
        assert end.token.order == max(token.order for token in alive)


# -- tokens and revocations ------------------------------------------------------------------------


def test_nothing_is_revoked_at_first() -> None:
    assert NOTHING.revoked_through == NOTHING_REVOKED
    assert not NOTHING.kills(Token("value", 0.0, 1.0))


@given(tokens, generations)
def test_a_revocation_covers_every_token_up_to_its_generation(token: Token, through: int) -> None:
    revoked = Entry.of_revocation(through)
    joined = join(Entry.of_token(token), revoked)
    assert (joined.token is None) is (token.generation <= through)
    assert revoked.kills(token) is (token.generation <= through)


# -- failures --------------------------------------------------------------------------------------


def test_a_newer_token_clears_an_outage() -> None:
    outage = of(failure(ago(5)))
    assert join(outage, Entry.of_token(issued())).outage is None
    assert join(outage, Entry.of_token(issued(ago(5)))).outage is None
    assert join(outage, Entry.of_token(issued(ago(6)))).outage == failure(ago(5))


def test_a_revocation_clears_an_older_outage() -> None:
    assert join(of(failure(ago(5))), Entry.of_revocation(GENERATION)).outage is None


def test_a_newer_token_does_not_clear_a_refusal() -> None:
    refused = of(refusal(ago(5)))
    assert join(refused, Entry.of_token(issued())).refusals == (refusal(ago(5)),)


def test_a_newer_record_of_the_same_credentials_replaces_a_refusal() -> None:  # S48
    success = replace(refusal(NOW, pause=0.0), count=0)
    joined = join(of(refusal(ago(5))), of(success))
    assert joined.refusals == (success,)
    assert joined.refusal_of(b"hash") == success
    assert joined.refusal_of(b"other") is None


def test_eight_refused_credentials_are_remembered_side_by_side() -> None:  # S48
    refused = [refusal(ago(each), credentials_hash=bytes([each])) for each in range(KEPT + 1)]
    joined = reduce(join, [of(each) for each in refused], NOTHING)
    assert joined.refusals == tuple(refused[:KEPT])
    assert KEPT == 8


def test_an_outage_does_not_displace_a_refusal() -> None:
    refused = [refusal(ago(each), credentials_hash=bytes([each])) for each in range(KEPT)]
    joined = reduce(join, [of(each) for each in [*refused, failure(ago(-1))]], NOTHING)
    assert joined.refusals == tuple(refused)
    assert joined.outage == failure(ago(-1))


def test_only_the_newest_outage_is_kept() -> None:
    joined = join(of(failure(ago(5), pause=900)), of(failure(NOW)))
    assert joined.failures == (failure(NOW),)


def test_a_local_failure_never_enters_an_entry() -> None:  # S53
    local = failure(kind=FailureKind.LOCAL)
    assert Entry.of_failure(local, SALT).failures == ()
    assert join(of(local), of(failure(ago(1)))).failures == (failure(ago(1)),)


def test_hashes_under_another_salt_are_dropped() -> None:
    smaller, greater = of(refusal(ago(5)), salt=b"a"), of(refusal(NOW), salt=b"b")
    joined = join(greater, smaller)
    assert joined.salt == b"a"
    assert joined.refusals == (refusal(ago(5)),)
    assert join(NOTHING, smaller) == smaller


def test_a_hash_without_a_salt_matches_no_credentials() -> None:
    assert Entry.of_failure(refusal()).refusals == ()
    assert Entry.of_failure(failure()).outage == failure()


# -- logins ----------------------------------------------------------------------------------------


def test_the_newest_login_wins_and_every_used_initial_token_is_remembered() -> None:
    first = Login("one", 1, initials=(Initial(1, "a"),))
    second = Login("two", 2, initials=(Initial(2, "b"),))
    joined = join(Entry(login=second), Entry(login=first)).login
    assert joined == Login("two", 2, initials=(Initial(2, "b"), Initial(1, "a")))
    assert "two" not in repr(joined)


def test_eight_used_initial_tokens_are_remembered() -> None:
    used = tuple(Initial(each, str(each)) for each in range(KEPT + 1))
    joined = normalised(Entry(login=Login("one", 9, initials=used))).login
    assert joined is not None
    assert joined.initials == tuple(reversed(used[1:]))


def test_a_spent_mark_beats_the_unmarked_login_and_the_end_beats_both() -> None:
    login = Login("one", 1)
    spent, ended = replace(login, being_spent=True), Login(None, 1)
    assert join(Entry(login=login), Entry(login=spent)).login == spent
    assert join(Entry(login=ended), Entry(login=spent)).login == ended


def test_a_login_outlives_its_access_tokens() -> None:
    login = Login("one", 1)
    joined = join(Entry(issued(), login), Entry.of_revocation(GENERATION))
    assert joined.token is None
    assert joined.login == login


def test_a_digest_of_a_refresh_token_does_not_show_it() -> None:
    assert digest_of("planted") == digest_of("planted") != digest_of("other")
    assert "planted" not in digest_of("planted")
    assert len(digest_of("planted")) == 32


# -- generations -----------------------------------------------------------------------------------


@pytest.mark.slow
@THOROUGH
@given(entries, st.floats(0, 20))
def test_the_next_generation_is_higher_than_any_known_one(entry: Entry, wall: float) -> None:
    following = next_generation(entry, wall)
    assert following > entry.revoked_through
    assert following >= int(wall)
    parts = [entry.token, entry.login, *entry.failures]
    assert all(following > part.generation for part in parts if part is not None)
    assert following in {entry.newest + 1, int(wall)}


def test_a_generation_from_the_far_future_is_demoted_and_its_token_lives() -> None:  # S57
    future = int(NOW.wall + FAR_FUTURE) + 1
    token, login = issued(generation=future), Login("one", future)
    entry = Entry(token, login, failures=(failure(generation=future),))
    assert demoted(entry, NOW.wall) == Entry(
        replace(token, generation=0), replace(login, generation=0)
    )
    assert next_generation(demoted(entry, NOW.wall), NOW.wall) == GENERATION


def test_demotion_keeps_generations_of_the_present() -> None:
    latest = int(NOW.wall + FAR_FUTURE)
    entry = Entry(issued(generation=latest), Login("one", latest), latest - 1)
    assert demoted(entry, NOW.wall) is entry
    future = Entry(
        issued(), Login("one", 1), -1, (failure(generation=latest + 1), failure(ago(-1)))
    )
    assert demoted(future, NOW.wall) == Entry(issued(), Login("one", 1), -1, (failure(ago(-1)),))


def test_the_highest_trusted_generation_is_kept_beside_one_from_the_far_future() -> None:
    latest = int(NOW.wall + FAR_FUTURE)
    at = float(latest - FAR_FUTURE)
    entry = Entry(issued(generation=latest), Login("one", latest + 1), latest - 2)
    assert demoted(entry, at) == replace(entry, login=Login("one", 0))
    revoked = Entry(None, Login("one", latest + 1), latest)
    assert demoted(revoked, at) == replace(revoked, login=Login("one", 0))
    failed = Entry(
        issued(generation=latest + 1), Login("one", latest), -1, (failure(generation=latest),)
    )
    assert demoted(failed, at) == replace(failed, token=issued(generation=0))


def test_demotion_keeps_refusals() -> None:
    refused = of(refusal())
    future = replace(refused, login=Login("one", int(NOW.wall + FAR_FUTURE) + 1))
    assert demoted(future, NOW.wall) == replace(refused, login=Login("one", 0))


def test_a_live_token_is_not_discarded_when_it_is_demoted() -> None:
    future = int(NOW.wall + FAR_FUTURE) + 2
    for revoked in (NOTHING_REVOKED, 5, GENERATION, future - 1):
        kept = demoted(Entry(issued(generation=future), None, revoked), NOW.wall)
        assert kept.token is not None
        assert kept.token.generation <= GENERATION + 1


def test_a_revocation_from_the_far_future_still_covers_the_tokens_that_are_demoted_too() -> None:
    future = int(NOW.wall + FAR_FUTURE) + 2
    revoked = demoted(Entry.of_revocation(future), NOW.wall)
    assert revoked == Entry.of_revocation(0)
    stray = demoted(Entry.of_token(issued(generation=future)), NOW.wall)
    assert join(revoked, stray).token is None


@pytest.mark.slow
@THOROUGH
@given(entries, st.floats(-FAR_FUTURE - 5, 20 - FAR_FUTURE))
def test_demoting_twice_changes_nothing(entry: Entry, wall: float) -> None:
    once = demoted(entry, wall)
    assert demoted(once, wall) == once or wall + FAR_FUTURE < 0
    assert (once.token is None) is (entry.token is None)


def test_a_newer_token_is_not_hidden_by_one_from_the_far_future() -> None:
    future = Entry.of_token(issued(generation=int(NOW.wall + FAR_FUTURE) + 9))
    now = Entry.of_token(issued())
    for one, other in ((future, now), (now, future)):
        assert join_at(one, other, NOW.wall) == now
    assert join_at(now, NOTHING, NOW.wall) == now


def test_a_revocation_ends_a_token_from_the_far_future_in_another_store() -> None:
    token = Entry.of_token(issued(generation=int(NOW.wall + FAR_FUTURE) + 9))
    assert join_at(token, Entry.of_revocation(5), NOW.wall).token is None
    later = Entry(token.token, None, 5)
    assert join_at(later, Entry.of_revocation(5), NOW.wall).token == issued(generation=6)


# -- news ------------------------------------------------------------------------------------------


@pytest.mark.slow
@THOROUGH
@given(entries, entries)
def test_joining_an_entry_that_adds_nothing_changes_only_times(new: Entry, held: Entry) -> None:
    assert not adds(held, held)
    assert not adds(NOTHING, held)
    if not adds(new, held):
        joined = join(new, held)
        assert joined.revoked_through == held.revoked_through
        assert joined.login == held.login
        assert (joined.token and joined.token.value) == (held.token and held.token.value)


@pytest.mark.parametrize(
    "news",
    [
        Entry.of_token(issued(ago(-1))),
        Entry.of_revocation(GENERATION - 1),
        of(failure(ago(-1))),
        of(refusal(ago(1)), salt=b"a"),
        Entry(login=Login("one", 1)),
    ],
)
def test_new_facts_are_worth_saving(news: Entry) -> None:
    held = Entry(issued())
    assert adds(news, held)
    assert not adds(news, join(news, held))


def test_other_times_of_the_same_token_are_not_worth_saving() -> None:
    # machines that convert times with their own clocks would keep correcting each other
    assert not adds(Entry(issued(NOW, generation=1)), Entry(issued(ago(0.01), generation=1)))
