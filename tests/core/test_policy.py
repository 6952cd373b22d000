"""When a token is renewed, and how long a failure lasts."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evertoken.core.failure_kind import FailureKind
from evertoken.core.instant import Instant
from evertoken.core.policy import RefreshPolicy
from evertoken.core.token import LONGEST_LIFETIME, Token
from evertoken.errors import GrantRefused, GrantUnavailable, TokenError
from support.core_values import HOUR, NOW, ago, failure, issued, refusal

if TYPE_CHECKING:
    from evertoken.core.failure import Failure

POLICY = RefreshPolicy()
REFUSED, UNAVAILABLE, LOCAL = FailureKind
lifetimes = st.sampled_from([0.0, 1.0, 5.0, 300.0, HOUR, 10 * HOUR]) | st.floats(0.0, 24 * HOUR)
fractions = st.floats(0.0, 1.0, exclude_max=True)


@pytest.mark.parametrize(
    ("lifetime", "window", "margin"),
    [(36_000, 120, 10), (480, 120, 10), (200, 50, 10), (100, 25, 5), (5, 1.25, 0.25), (0, 0, 0)],
)
def test_window_and_margin_shrink_with_the_lifetime(
    lifetime: float, window: float, margin: float
) -> None:
    token = issued(lifetime=lifetime)
    assert POLICY.window(token) == window
    assert POLICY.margin(token) == margin
    assert POLICY.due_at(token, jitter_fraction=0) == NOW.after(lifetime - window)
    assert POLICY.usable_until(token) == NOW.after(lifetime - margin)


def test_the_defaults_are_those_that_are_documented() -> None:
    documented = {
        "refresh_before": 120,
        "expiry_margin": 10,
        "jitter": 0.25,
        "retry_after": 1,
        "retry_after_max": 60,
        "refusal_cooldown": 300,
        "refusal_cooldown_max": 3600,
        "recheck": 1,
        "activation_delay": 0,
    }
    assert asdict(POLICY) == documented


def test_the_options_are_upper_bounds() -> None:
    policy = RefreshPolicy(refresh_before=7, expiry_margin=3, jitter=0)
    assert policy.due_at(issued(), jitter_fraction=0.9) == NOW.after(HOUR - 7)
    assert policy.usable_until(issued()) == NOW.after(HOUR - 3)


def test_a_renewal_is_never_later_than_the_last_moment_of_use() -> None:
    policy = RefreshPolicy(refresh_before=0)
    assert policy.due_at(issued(), jitter_fraction=0) == policy.usable_until(issued())


def test_jitter_moves_a_renewal_earlier_by_up_to_a_quarter_of_its_window() -> None:
    token = issued()
    assert POLICY.due_at(token, jitter_fraction=0.5) == NOW.after(HOUR - 135)
    assert POLICY.due_at(token, jitter_fraction=1.0) == NOW.after(HOUR - 150)


def test_a_renewal_is_overdue_half_a_window_before_the_last_moment_of_use() -> None:
    token = issued()
    assert POLICY.overdue_at(token, jitter_fraction=0) == NOW.after(HOUR - 10 - 60)
    assert POLICY.overdue_at(token, jitter_fraction=1) == NOW.after(HOUR - 10 - 75)


@settings(max_examples=80, deadline=None)
@given(lifetimes, fractions)
def test_a_renewal_is_due_before_it_is_overdue_and_that_before_the_end(
    lifetime: float, fraction: float
) -> None:
    token = issued(lifetime=lifetime)
    due_at = POLICY.due_at(token, jitter_fraction=fraction)
    overdue_at = POLICY.overdue_at(token, jitter_fraction=fraction)
    assert overdue_at.boot - due_at.boot >= POLICY.window(token) / 4 - 1e-6
    assert POLICY.usable_until(token).boot - overdue_at.boot >= POLICY.window(token) / 2 - 1e-6
    assert due_at.boot - NOW.boot >= 0.68 * lifetime - 1e-6  # F28


def test_a_token_without_a_reading_ends_by_the_wall_clock_alone() -> None:
    token = issued(reading=False)
    assert POLICY.usable_until(token) == Instant(NOW.wall + HOUR - 10, math.inf)


@pytest.mark.parametrize(
    ("token", "usable"),
    [
        (issued(), True),
        (issued(lifetime=0), False),
        (issued(ago(HOUR - 11)), True),
        (issued(ago(HOUR - 10)), False),
        (issued(NOW.after(60)), True),
        (issued(NOW.after(61)), False),
        (issued(lifetime=LONGEST_LIFETIME + 2), False),
    ],
    ids=range(7),
)
def test_a_token_is_usable_until_its_margin_if_its_times_are_plausible(
    token: Token, *, usable: bool
) -> None:
    assert POLICY.usable(token, NOW) is usable


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
@pytest.mark.parametrize("option", ["refresh_before", "jitter", "recheck", "activation_delay"])
def test_an_option_that_is_not_a_duration_is_refused_by_name(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        RefreshPolicy(**{option: value})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"jitter": 1.5}, "jitter is a share of the window, at most 1, not 1.5"),
        ({"retry_after": 61.0}, "retry_after must not be above retry_after_max"),
        ({"refusal_cooldown": 3601.0}, "refusal_cooldown must not be above refusal_cooldown_max"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, float], told: str
) -> None:
    with pytest.raises(ValueError, match=f"^{told}$"):
        RefreshPolicy(**options)


def test_the_pause_for_a_sibling_is_a_part_of_a_short_window() -> None:  # F28
    assert POLICY.poll_pause(issued(lifetime=4)) == 0.25
    assert POLICY.poll_pause(issued()) == POLICY.poll_pause(None) == POLICY.recheck


# -- back-off --------------------------------------------------------------------------------------

DOWN = GrantUnavailable("down", transient=True)


def backoff(
    error: TokenError, count: int = 1, kind: FailureKind = UNAVAILABLE, fraction: float = 0.0
) -> float:
    return POLICY.backoff(error, kind=kind, count=count, jitter_fraction=fraction)


@pytest.mark.parametrize("kind", [UNAVAILABLE, LOCAL])
def test_the_pause_after_an_outage_doubles_to_a_minute(kind: FailureKind) -> None:  # F20
    pauses = [backoff(DOWN, count, kind) for count in range(1, 10)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_pause_after_refused_credentials_doubles_to_an_hour() -> None:  # S48
    pauses = [backoff(GrantRefused("no"), count, REFUSED) for count in range(1, 7)]
    assert pauses == [300, 600, 1200, 2400, 3600, 3600]


def test_a_backoff_is_bounded_after_any_number_of_failures() -> None:
    assert backoff(DOWN, 10**6) == 60
    assert backoff(GrantRefused("no"), 10**6, REFUSED) == 3600


def test_a_permanent_error_answer_also_backs_off_from_one_second() -> None:  # S52
    assert backoff(GrantUnavailable("404", status=404, transient=False)) == 1


def test_a_local_failure_that_a_retry_cannot_fix_waits_a_minute() -> None:  # F19
    assert backoff(GrantUnavailable("TLS distrust", transient=False), kind=LOCAL) == 60


def test_jitter_shortens_the_pause_after_an_outage_and_not_after_a_refusal() -> None:
    assert backoff(DOWN, 3, fraction=0.5) == 3.5
    assert backoff(GrantRefused("no"), 1, REFUSED, fraction=0.5) == 300


@pytest.mark.parametrize(
    ("asked", "pause"),
    [(0.5, 1), (30.0, 30), (3600.0, 3600), (1e9, 3600), (math.inf, 3600), (-5.0, 1)],
)
def test_retry_after_prolongs_a_pause_to_an_hour_at_most(asked: float, pause: float) -> None:  # S36
    assert backoff(GrantUnavailable("busy", retry_after=asked, transient=True)) == pause


def test_retry_after_does_not_shorten_a_cool_down() -> None:  # S48
    assert backoff(GrantRefused("no", retry_after=1), 1, REFUSED) == 300


# -- what is in force ------------------------------------------------------------------------------

OLD = issued(ago(HOUR))
"""It has expired."""


@pytest.mark.parametrize(
    ("failed", "token", "in_force"),
    [
        (failure(), None, True),
        (failure(ago(61)), None, False),
        (failure(), issued(), True),
        # the token ended after the failure: the request is tried again once
        (failure(ago(30), pause=600), OLD, False),
        (failure(ago(30), pause=600, reading=False), OLD, False),
        # on the clock since boot it had ended before
        (replace(failure(ago(30), pause=600), at_boot=NOW.boot - 5), OLD, True),
        # the token had ended before
        (failure(ago(5), pause=600), OLD, True),
        # the end of a token does not end a refusal
        (refusal(ago(30)), OLD, True),
    ],
    ids=range(8),
)
def test_a_failure_is_in_force(failed: Failure, token: Token | None, *, in_force: bool) -> None:
    assert POLICY.in_force(failed, token, NOW) is in_force
