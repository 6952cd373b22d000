"""When a token is renewed, and who waits."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertoken import (
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    RefreshPolicy,
    TokenError,
)
from evertoken.instant import Instant
from evertoken.policy import (
    EMPTY,
    Action,
    Snapshot,
    absorbed,
    decide,
    failed,
    holding,
    landed,
    postponed,
    stands,
    unwatched,
    watched,
)
from evertoken.token import Mark, Refusal, Token, token_of
from support.strategies import TRIES, draws, instants, lifetimes, policies, tokens_at
from support.values import DAY, HOUR, NOW, ago, issued, outage, refusal

if TYPE_CHECKING:
    from evertoken.token import Entry

POLICY = RefreshPolicy()
NO_LOT = 0.0
IN_A_MINUTE = NOW.after(60)
A_MINUTE_AGO = NOW.after(-60)


def held(token: Token, now: Instant = NOW) -> Snapshot:
    return holding(token, now, POLICY, draw=NO_LOT)


# -- the policy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lifetime", "window", "margin"),
    [
        (36_000, 120, 10),
        (480, 120, 10),
        (400, 100, 10),
        (200, 50, 10),
        (100, 25, 5),
        (5, 1.25, 0.25),
        (0, 0, 0),
    ],
)
def test_window_and_margin_shrink_with_the_lifetime(
    lifetime: float, window: float, margin: float
) -> None:
    token = issued(lifetime=lifetime)
    assert POLICY.window(token) == window
    assert POLICY.margin(token) == margin
    assert POLICY.due_at(token, draw=NO_LOT) == NOW.after(lifetime - window)
    assert POLICY.usable_until(token) == NOW.after(lifetime - margin)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert (
        RefreshPolicy(
            refresh_before=120,
            expiry_margin=10,
            jitter=0.25,
            retry_after=1,
            retry_after_max=60,
            refusal_cooldown=300,
            refusal_cooldown_max=3600,
            recheck=1,
        )
        == POLICY
    )


def test_the_options_are_upper_bounds() -> None:
    policy = RefreshPolicy(refresh_before=7, expiry_margin=3, jitter=0)
    assert policy.due_at(issued(), draw=0.9) == NOW.after(HOUR - 7)
    assert policy.usable_until(issued()) == NOW.after(HOUR - 3)


def test_a_renewal_is_never_later_than_the_last_moment_of_use() -> None:
    policy = RefreshPolicy(refresh_before=0)
    assert policy.due_at(issued(), draw=NO_LOT) == policy.usable_until(issued())


def test_jitter_moves_a_renewal_earlier_by_up_to_a_quarter_of_its_window() -> None:
    token = issued()
    assert POLICY.due_at(token, draw=0.0) == NOW.after(HOUR - 120)
    assert POLICY.due_at(token, draw=0.5) == NOW.after(HOUR - 135)
    assert POLICY.due_at(token, draw=1.0) == NOW.after(HOUR - 150)


def test_a_renewal_is_overdue_half_a_window_before_the_last_moment_of_use() -> None:
    token = issued()
    assert POLICY.overdue_at(token, draw=0.0) == NOW.after(HOUR - 10 - 60)
    assert POLICY.overdue_at(token, draw=1.0) == NOW.after(HOUR - 10 - 75)


@TRIES
@given(lifetimes, draws)
def test_with_the_defaults_a_renewal_is_due_before_it_is_overdue(
    lifetime: float, draw: float
) -> None:
    token = issued(lifetime=lifetime)
    due_at, overdue_at = (at(token, draw=draw) for at in (POLICY.due_at, POLICY.overdue_at))
    assert overdue_at.boot - due_at.boot >= POLICY.window(token) / 4 - 1e-6
    assert POLICY.usable_until(token).boot - overdue_at.boot >= POLICY.window(token) / 2 - 1e-6


def test_a_token_that_was_not_dated_by_the_clock_since_boot_ends_by_the_wall_alone() -> None:
    token = issued(reading=False)
    assert POLICY.usable_until(token) == Instant(NOW.wall + HOUR - 10, math.inf)
    assert POLICY.due_at(token, draw=NO_LOT) == Instant(NOW.wall + HOUR - 120, math.inf)


@TRIES
@given(policies(), tokens_at(), draws)
def test_due_comes_before_the_end_of_use_and_that_before_expiry(
    policy: RefreshPolicy, token: Token, draw: float
) -> None:
    due_at, usable_until = policy.due_at(token, draw=draw), policy.usable_until(token)
    assert due_at.wall <= usable_until.wall
    assert due_at.boot <= usable_until.boot
    assert usable_until.wall <= token.expires_at + 1e-6
    if token.issued_boot is not None:
        assert usable_until.boot <= token.issued_boot + token.lifetime + 1e-6


@TRIES
@given(lifetimes, draws)
def test_any_lifetime_leaves_most_of_itself_before_the_renewal(  # F28
    lifetime: float, draw: float
) -> None:
    token = issued(lifetime=lifetime)
    assert POLICY.due_at(token, draw=draw).boot - NOW.boot >= 0.68 * lifetime - 1e-6
    assert POLICY.usable_until(token).boot - NOW.boot >= 0.94 * lifetime - 1e-6


@pytest.mark.parametrize("lifetime", [0.2, 1, 5, 15])
def test_a_caller_that_never_rests_has_one_token_per_lifetime(lifetime: float) -> None:  # F28
    snapshot, grants, calls = EMPTY, 0, 2000
    for call in range(calls):
        now = NOW.after(call * lifetime / 100)
        if decide(snapshot, now) is not Action.USE:
            grants += 1
            snapshot = landed(snapshot, issued(now, lifetime=lifetime), now, POLICY, draw=NO_LOT)
    lifetimes_passed = calls / 100
    assert lifetimes_passed <= grants <= 1.5 * lifetimes_passed


@pytest.mark.parametrize(
    ("token", "usable"),
    [
        (issued(), True),
        (issued(lifetime=0), False),
        (issued(lifetime=-1), False),
        (issued(ago(HOUR - 11)), True),
        (issued(ago(HOUR - 10)), False),
        (issued(NOW.after(60)), True),
        (issued(NOW.after(61)), False),
        (issued(lifetime=365 * DAY), True),
        (issued(lifetime=366 * DAY), False),
    ],
)
def test_a_token_is_usable_until_its_margin_and_where_its_times_can_be_true(
    token: Token, *, usable: bool
) -> None:
    assert POLICY.usable(token, NOW) is usable


@pytest.mark.parametrize("option", ["refresh_before", "expiry_margin", "jitter", "recheck"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_an_option_that_is_no_duration_is_refused_by_name(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        RefreshPolicy(**{option: value})


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"jitter": 1.5}, "jitter"),
        ({"retry_after": 61.0}, "retry_after_max"),
        ({"refusal_cooldown": 3601.0}, "refusal_cooldown_max"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, float], name: str
) -> None:
    with pytest.raises(ValueError, match=name):
        RefreshPolicy(**options)


@pytest.mark.parametrize(("value", "name"), [(POLICY, "jitter"), (EMPTY, "token")])
def test_policies_and_snapshots_are_replaced_whole(value: object, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)


# -- back-off --------------------------------------------------------------------------------------

DOWN = GrantUnavailable("down", transient=True)
DISTRUSTED = GrantUnavailable("TLS distrust", local=True)
REFUSED = GrantRefused("refused")


def backoff(error: TokenError, failures: int, draw: float = NO_LOT) -> float:
    refused = isinstance(error, GrantRefused)
    return POLICY.backoff(error, failures=failures, refused=refused, draw=draw)


def test_the_pause_after_an_outage_doubles_to_a_minute() -> None:  # F20
    pauses = [backoff(DOWN, failures) for failures in range(1, 10)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_pause_after_a_refusal_doubles_to_an_hour() -> None:  # S48
    pauses = [backoff(REFUSED, failures) for failures in range(1, 8)]
    assert pauses == [300, 600, 1200, 2400, 3600, 3600, 3600]


def test_failures_without_number_overflow_nothing() -> None:
    assert backoff(DOWN, 10**6) == 60
    assert backoff(REFUSED, 10**6) == 3600


def test_a_local_failure_that_only_a_person_can_mend_starts_at_the_cap() -> None:  # F19
    assert backoff(DISTRUSTED, 1) == 60


def test_a_failure_of_the_endpoint_starts_at_a_second_though_it_looks_lasting() -> None:  # S52
    assert backoff(InvalidTokenResponse("a redirect", status=302), 1) == 1
    assert backoff(GrantUnavailable("invalid_scope", status=400), 1) == 1


def test_jitter_shortens_the_pause_after_an_outage_and_not_after_a_refusal() -> None:
    assert backoff(DOWN, 3, draw=0.5) == 3.5
    assert backoff(REFUSED, 1, draw=0.5) == 300


@pytest.mark.parametrize(
    ("asked", "pause"),
    [(0.5, 1), (30.0, 30), (3600.0, 3600), (1e9, 3600), (math.inf, 3600), (-5.0, 1)],
)
def test_retry_after_prolongs_a_pause_to_an_hour_at_most(asked: float, pause: float) -> None:  # S36
    assert backoff(GrantUnavailable("busy", retry_after=asked, transient=True), 1) == pause


def test_a_policy_without_pauses_has_none() -> None:
    policy = RefreshPolicy(retry_after=0, retry_after_max=0)
    assert policy.backoff(DOWN, failures=1, refused=False, draw=NO_LOT) == 0


def test_retry_after_does_not_shorten_a_cool_down() -> None:  # S48
    assert backoff(GrantRefused("refused", retry_after=1), 1) == 300


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
    assert snapshot.usable(NOW) is usable
    assert snapshot.due(NOW) is due
    assert decide(snapshot, NOW) is action


def test_without_a_token_a_caller_waits_for_one() -> None:
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
def test_a_token_of_an_hour_goes_from_fresh_over_stale_to_expired(
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
        (3500, 60, Action.REFRESH_IF_FREE),
        (8 * HOUR, 8 * HOUR, Action.REFRESH_OR_WAIT),
        (60, 3600, Action.REFRESH_OR_WAIT),
    ],
    ids=["back", "back-due", "back-over", "a day on", "an hour on", "suspend", "wall stood still"],
)
def test_either_clock_ends_a_token(wall: float, boot: float, action: Action) -> None:  # F16
    now = Instant(NOW.wall + wall, NOW.boot + boot)
    assert decide(held(issued()), now) is action


def test_a_clock_set_on_and_back_costs_one_grant() -> None:  # F16
    wrong = Instant(NOW.wall + DAY, NOW.boot + 60)
    assert decide(held(issued()), wrong) is Action.REFRESH_OR_WAIT
    renewed = landed(held(issued()), issued(wrong), wrong, POLICY, draw=NO_LOT)
    right_again = NOW.after(120)
    assert decide(renewed, right_again) is Action.USE


def test_seconds_left_are_told_by_the_clock_that_says_less() -> None:
    snapshot = held(issued())
    assert snapshot.seconds_left(Instant(NOW.wall + 100, NOW.boot + 5)) == HOUR - 110
    assert snapshot.seconds_left(Instant(NOW.wall - DAY, NOW.boot + 5)) == HOUR - 15
    assert snapshot.seconds_left(NOW.after(DAY)) == 0


# -- the transitions -------------------------------------------------------------------------------


def test_holding_a_token_prepares_the_header() -> None:  # S17
    snapshot = held(issued(value="abc"))
    assert snapshot.header == "Bearer abc"
    assert "abc" not in repr(snapshot)  # S46
    assert snapshot.token == issued(value="abc")
    assert snapshot.refusal is None


def test_a_token_of_another_boot_is_held_to_the_clock_since_this_one() -> None:  # F16
    snapshot = held(issued(ago(600), reading=False))
    assert snapshot.usable_until == NOW.after(HOUR - 10 - 600)
    set_back = Instant(NOW.wall - DAY, NOW.boot + HOUR)
    assert decide(snapshot, set_back) is Action.REFRESH_OR_WAIT


def test_a_token_slightly_from_the_future_counts_from_now() -> None:
    snapshot = held(issued(NOW.after(30), reading=False))
    assert snapshot.usable_until.boot == NOW.boot + HOUR - 10


def test_the_one_clock_check_is_closed_until_it_is_opened() -> None:
    for snapshot in (EMPTY, held(issued())):
        assert not snapshot.fresh_from <= NOW.wall < snapshot.fresh_until


def test_watching_opens_it_for_as_long_as_nobody_need_look() -> None:
    snapshot = watched(held(issued()), NOW, POLICY)
    assert (snapshot.fresh_from, snapshot.fresh_until) == (NOW.wall, NOW.wall + POLICY.recheck)
    closed = unwatched(snapshot)
    assert not closed.fresh_from <= NOW.wall < closed.fresh_until


PATIENT = RefreshPolicy(recheck=2 * HOUR)


@pytest.mark.parametrize("wall", [0.0, -DAY], ids=["clocks agree", "wall set back"])
def test_watching_ends_when_the_token_is_due_on_either_clock(wall: float) -> None:  # F16
    now = Instant(NOW.wall + wall, NOW.boot)
    snapshot = watched(held(issued()), now, PATIENT)
    assert snapshot.fresh_until == now.wall + HOUR - 120


@TRIES
@given(tokens_at(), instants(), policies(), draws, st.integers(0, 2 * 86400))
def test_while_the_one_clock_check_passes_both_clocks_say_fresh(
    token: Token, now: Instant, policy: RefreshPolicy, draw: float, later: int
) -> None:
    snapshot = holding(token, now, policy, draw=draw)
    if decide(snapshot, now) is Action.USE:
        snapshot = watched(snapshot, now, policy)
        then = now.after(later)
        if snapshot.fresh_from <= then.wall < snapshot.fresh_until - 1e-6:
            assert decide(snapshot, then) is Action.USE
            assert later <= policy.recheck


def test_while_a_sibling_renews_a_live_token_it_is_looked_at_again_soon() -> None:
    stale = NOW.after(3500)
    snapshot = postponed(held(issued()), stale, POLICY)
    assert decide(snapshot, stale) is Action.USE
    assert decide(snapshot, stale.after(POLICY.recheck)) is Action.REFRESH_IF_FREE


def test_the_pause_for_a_sibling_is_a_part_of_a_short_window() -> None:  # F28
    short = issued(lifetime=4)
    assert POLICY.pause(short) == 0.25
    assert POLICY.pause(issued()) == POLICY.pause(None) == POLICY.recheck


def test_a_pause_for_a_sibling_ends_with_the_token() -> None:
    last = NOW.after(HOUR - 10.5)
    snapshot = postponed(held(issued()), last, POLICY)
    assert snapshot.due_at == snapshot.usable_until
    assert decide(snapshot, last.after(0.5)) is Action.REFRESH_OR_WAIT


def test_without_a_token_no_sibling_makes_a_caller_fail() -> None:
    assert decide(postponed(EMPTY, NOW, POLICY), NOW) is Action.REFRESH_OR_WAIT


def test_waiting_for_siblings_counts_from_its_start_until_something_lands() -> None:
    once = postponed(held(issued()), NOW, POLICY)
    twice = postponed(once, NOW.after(5), POLICY)
    assert once.blocked_since == twice.blocked_since == NOW.boot
    assert failed(twice, outage(), NOW, POLICY).blocked_since is None
    assert landed(twice, issued(NOW), NOW, POLICY, draw=NO_LOT).blocked_since is None


def test_a_failure_while_a_token_lives_only_puts_the_next_try_off() -> None:  # F20
    stale = NOW.after(3500)
    snapshot = failed(held(issued()), outage(stale, pause=8), stale, POLICY)
    assert decide(snapshot, stale) is Action.USE
    assert decide(snapshot, stale.after(8)) is Action.REFRESH_IF_FREE
    assert snapshot.token == issued()
    assert snapshot.refusal is not None


def test_the_end_of_a_token_is_always_a_try() -> None:
    stale = NOW.after(3500)
    snapshot = failed(held(issued()), outage(stale, pause=HOUR), stale, POLICY)
    assert decide(snapshot, NOW.after(3589)) is Action.USE
    assert decide(snapshot, NOW.after(3590)) is Action.REFRESH_OR_WAIT


def test_without_a_usable_token_a_failure_is_remembered_until_its_end() -> None:
    snapshot = failed(EMPTY, outage(pause=8), NOW, POLICY)
    assert decide(snapshot, NOW.after(7.9)) is Action.FAIL
    assert decide(snapshot, NOW.after(8)) is Action.REFRESH_OR_WAIT


def test_refused_credentials_are_compared_again_once_per_recheck() -> None:  # S48
    snapshot = failed(EMPTY, refusal(pause=300), NOW, POLICY)
    assert decide(snapshot, NOW.after(0.9)) is Action.FAIL
    assert decide(snapshot, NOW.after(POLICY.recheck)) is Action.REFRESH_OR_WAIT


def test_a_failure_closes_the_one_clock_check() -> None:
    snapshot = failed(watched(held(issued()), NOW, POLICY), outage(), NOW, POLICY)
    assert not snapshot.fresh_from <= NOW.wall < snapshot.fresh_until


@TRIES
@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, DAY), st.booleans()), max_size=20),
    draws,
)
def test_a_live_token_outlives_any_number_of_failures(
    failures: list[tuple[float, float, bool]], draw: float
) -> None:
    token = issued()
    snapshot, now = holding(token, NOW, POLICY, draw=draw), NOW
    for step, pause, refused in failures:
        now = now.after(step)
        entry = (refusal if refused else outage)(now, pause=pause, token=token)
        usable = POLICY.usable(token, now)
        snapshot = landed(snapshot, entry, now, POLICY, draw=draw)
        assert snapshot.token == token
        assert snapshot.usable(now) is usable
        if usable:
            assert decide(snapshot, now) in {Action.USE, Action.REFRESH_IF_FREE}
            assert decide(snapshot, POLICY.usable_until(token)) is Action.REFRESH_OR_WAIT


# -- whether a refusal stands ----------------------------------------------------------------------

LIVE = issued(ago(3500))
ENDED = issued(ago(HOUR))
LONG_DEAD = issued(ago(2 * HOUR))
BEFORE_ITS_END = ago(15)


@pytest.mark.parametrize(
    ("entry", "answer"),
    [
        (Refusal.tombstone(issued(), NOW), False),
        (outage(ago(61)), False),
        (outage(ago(59)), True),
        (outage(NOW.after(61)), False),
        (outage(BEFORE_ITS_END, token=LIVE), True),
        (outage(BEFORE_ITS_END, token=ENDED), False),
        (outage(BEFORE_ITS_END, token=LONG_DEAD), True),
        (refusal(BEFORE_ITS_END, token=ENDED), True),
        (outage(BEFORE_ITS_END, token=issued(ago(HOUR), reading=False), reading=False), False),
        (outage(BEFORE_ITS_END, token=issued(ago(2 * HOUR), reading=False), reading=False), True),
    ],
    ids=[
        "a tombstone forbids nothing",
        "over",
        "not over",
        "from the future",
        "the token lives",
        "the token has ended since",
        "the token had ended before",
        "credentials are refused whatever the token",
        "ended since, in another boot",
        "ended before, in another boot",
    ],
)
def test_a_refusal_stands_until_its_end_or_the_end_of_its_token(
    entry: Refusal, *, answer: bool
) -> None:
    assert stands(entry, NOW, POLICY) is answer


# -- what a renewal brings -------------------------------------------------------------------------


def land(snapshot: Snapshot, entry: Entry | None, now: Instant = NOW) -> Snapshot:
    return landed(snapshot, entry, now, POLICY, draw=NO_LOT)


def test_a_sibling_at_work_postpones() -> None:
    assert land(held(issued()), None) == postponed(held(issued()), NOW, POLICY)


def test_a_later_token_takes_the_place_of_an_earlier_one() -> None:
    assert land(held(LIVE), issued(value="later")) == held(issued(value="later"))


def test_an_earlier_token_never_takes_the_place_of_a_later_live_one() -> None:  # F15
    own = held(issued(value="later"))
    assert land(own, issued(ago(5), value="earlier")) == own


def test_an_earlier_token_that_lives_takes_the_place_of_a_later_one_that_does_not() -> None:
    own = held(issued(ago(10), value="short", lifetime=5))
    assert land(own, issued(ago(60), value="long")).header == "Bearer long"


def test_a_token_that_is_over_at_once_is_held_for_who_waited() -> None:  # S18
    snapshot = land(EMPTY, issued(lifetime=0))
    assert snapshot.token == issued(lifetime=0)
    assert decide(snapshot, NOW) is Action.REFRESH_OR_WAIT


def test_a_success_ends_the_failure_before_it() -> None:
    cooling = failed(EMPTY, outage(), NOW, POLICY)
    assert land(cooling, issued()) == held(issued())


def test_the_same_token_granted_again_has_its_new_times() -> None:
    again = issued(NOW.after(60), lifetime=HOUR - 60)
    assert land(held(issued()), again, NOW.after(60)).token == again


def test_a_refusal_without_a_token_leaves_what_is_had() -> None:
    entry = outage()
    assert land(held(LIVE), entry) == failed(held(LIVE), entry, NOW, POLICY)
    assert land(EMPTY, outage()).token is None
    assert decide(land(EMPTY, outage()), NOW) is Action.FAIL


def test_a_refusal_brings_the_live_token_that_a_sibling_had() -> None:
    snapshot = land(EMPTY, outage(token=LIVE))
    assert snapshot.token == LIVE
    assert decide(snapshot, NOW) is Action.USE
    assert snapshot.refusal is not None


def test_a_refusal_brings_no_token_from_the_future() -> None:  # F16
    snapshot = land(EMPTY, outage(token=issued(NOW.after(DAY), reading=False)))
    assert snapshot.token is None
    assert decide(snapshot, NOW) is Action.FAIL


def test_a_refusal_does_not_bring_an_earlier_token_back() -> None:  # F15
    own = held(issued(value="later"))
    assert land(own, outage(token=LIVE)).token == own.token


@pytest.mark.parametrize("carried", [True, False], ids=["by a refusal", "as it is"])
def test_the_same_token_without_its_reading_lives_no_longer(*, carried: bool) -> None:  # F16
    copy = issued(reading=False)
    now = Instant(NOW.wall - DAY, NOW.boot + HOUR)
    snapshot = land(held(issued()), outage(now, token=copy) if carried else copy, now)
    assert not snapshot.usable(now)


def test_another_token_without_a_reading_is_not_dated_by_the_one_before() -> None:
    snapshot = land(held(ENDED), issued(value="another", reading=False))
    assert snapshot.usable_until == NOW.after(HOUR - 10)


# -- what siblings share ---------------------------------------------------------------------------


def absorb(snapshot: Snapshot, entry: Entry | None, now: Instant = NOW) -> Snapshot:
    return absorbed(snapshot, entry, now, POLICY, draw=NO_LOT)


@pytest.mark.parametrize("own", [EMPTY, held(LIVE)], ids=["no token", "a token"])
def test_nothing_shared_changes_nothing(own: Snapshot) -> None:
    assert absorb(own, None) is own


def test_a_later_live_token_of_a_sibling_is_taken() -> None:
    assert absorb(held(LIVE), issued(value="later")) == held(issued(value="later"))


@pytest.mark.parametrize(
    "entry",
    [
        issued(ago(3500)),
        issued(),
        issued(ago(3501), value="earlier"),
        issued(value="dead", lifetime=0),
        issued(NOW.after(61), value="from the future"),
        outage(ago(61)),
        outage(ago(3501), pause=2 * HOUR),
        refusal(),
        Refusal.tombstone(issued(ago(3501), value="an earlier one"), NOW),
    ],
    ids=[
        "the same token",
        "the same token, granted again",
        "an earlier one",
        "a dead one",
        "one from the future",
        "an outage that is over",
        "an outage before the token that is had",
        "refused credentials, which may be a sibling's alone",
        "the tombstone of an earlier token",
    ],
)
def test_nothing_else_changes_anything(entry: Entry) -> None:
    own = held(LIVE)
    assert absorb(own, entry) is own


def test_a_tombstone_ends_the_token_that_it_names() -> None:  # S41
    assert absorb(held(LIVE), Refusal.tombstone(LIVE, NOW)) == EMPTY
    marked = replace(outage(), forgets=Mark.of(LIVE))
    assert absorb(held(LIVE), marked) == EMPTY


@pytest.mark.parametrize("carried", [None, issued(ago(1), value="its successor")])
def test_a_tombstone_ends_the_tokens_before_it_whose_own_it_may_have_replaced(  # S41
    carried: Token | None,
) -> None:
    successor = issued(ago(10), value="revoked too")
    marked = replace(outage(token=carried), forgets=Mark.of(successor))
    assert absorb(held(LIVE), Refusal.tombstone(successor, NOW)) == EMPTY
    assert absorb(held(LIVE), marked) == EMPTY


def test_an_outage_that_a_sibling_met_is_waited_out_together() -> None:  # F20
    own = held(LIVE)
    snapshot = absorb(own, outage(ago(20), token=LIVE))
    assert snapshot.due_at == NOW.after(40)
    assert snapshot.usable_until == own.usable_until
    assert absorb(snapshot, snapshot.refusal) is snapshot


def test_a_refusal_that_carries_a_later_live_token_brings_both() -> None:
    later = issued(ago(30), value="later")
    snapshot = absorb(held(LIVE), outage(ago(20), token=later))
    assert snapshot.token == later
    assert snapshot.due_at == NOW.after(40)


# -- what holds for any sequence -------------------------------------------------------------------


class Step(NamedTuple):
    """Some time passes, a clock may be set, and something lands or is shared."""

    elapsed: float
    jump: float
    lands: bool
    kind: str
    earlier: int
    age: float
    lifetime: float


steps = st.builds(
    Step,
    elapsed=st.floats(0, 2000),
    jump=st.sampled_from([0.0, 0.0, 0.0, HOUR, -HOUR, DAY, -DAY]),
    lands=st.booleans(),
    kind=st.sampled_from(["token", "copy", "undated", "outage", "refusal", "tombstone", "nothing"]),
    earlier=st.integers(0, 3),
    age=st.floats(0, 2 * HOUR),
    lifetime=lifetimes,
)


def entry_of(step: Step, now: Instant, seen: list[Token]) -> Entry | None:
    """An entry about a new token, or about one that was there some steps earlier."""
    at = now.after(-step.age)
    seen.append(issued(at, value=f"token-{len(seen)}", lifetime=step.lifetime))
    token = seen[max(0, len(seen) - 1 - step.earlier)]
    entries: dict[str, Entry | None] = {
        "token": seen[-1],
        "copy": token,
        "undated": replace(token, issued_boot=None),
        "outage": outage(at, pause=step.lifetime, token=token),
        "refusal": refusal(at, pause=step.lifetime, token=token),
        "tombstone": Refusal.tombstone(token, at),
        "nothing": None,
    }
    return entries[step.kind]


@TRIES
@given(st.lists(steps, max_size=12), draws)
def test_no_snapshot_outlives_its_token_on_either_clock_and_none_fails_without_a_reason(  # F16
    sequence: list[Step], draw: float
) -> None:
    snapshot, now, seen = EMPTY, NOW, list[Token]()
    for step in sequence:
        now = Instant(now.wall + step.elapsed + step.jump, now.boot + step.elapsed)
        before, entry = snapshot, entry_of(step, now, seen)
        # a tombstone never lands: a renewal adopts what stands, and it forbids nothing
        change = landed if step.lands and step.kind != "tombstone" else absorbed
        snapshot = change(before, entry, now, POLICY, draw=draw)
        check_invariants(snapshot, now)
        if not any(passed.jump for passed in sequence) and snapshot.usable(now):
            assert snapshot.due_at.earlier(snapshot.usable_until) == snapshot.due_at
        if before.usable(now) and before.token is not None:
            check_live_token(before.token, entry, snapshot.token)


def check_invariants(snapshot: Snapshot, now: Instant) -> None:
    token = snapshot.token
    if snapshot.usable(now):
        assert token is not None
        assert token.issued_boot is not None
        assert now.wall < token.expires_at
        assert now.boot < token.issued_boot + token.lifetime
        assert snapshot.header == f"Bearer {token.value}"
    if decide(snapshot, now) is Action.FAIL:
        assert snapshot.refusal is not None
        assert snapshot.refusal.error is not None


def check_live_token(own: Token, entry: Entry | None, token: Token | None) -> None:
    """A live token gives way to a later one or to a mark of it or of a later one, no other."""
    shared = token_of(entry)
    if token is None:
        assert isinstance(entry, Refusal)
        mark = entry.forgets
        assert mark is not None
        assert mark.issued_boot is not None
        assert own.issued_boot is not None
        assert mark.digest == own.digest() or own.issued_boot < mark.issued_boot
    elif token.value == own.value:
        readings = {own.issued_boot, own.issued_boot if shared is None else shared.issued_boot}
        assert token.issued_boot in readings - {None}
        assert token.expires_at == own.expires_at
    else:
        assert shared is not None
        assert shared.value == token.value
        assert not own.later_than(shared)
