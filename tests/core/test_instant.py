"""One moment on two clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertoken.core.instant import LONG_AGO, Instant
from support.core_values import DAY, NOW
from support.strategies import TRIES, instants


@pytest.mark.parametrize(
    ("now", "reached"),
    [
        (NOW, True),
        (NOW.after(-1), False),
        (Instant(NOW.wall, NOW.boot - 1), True),
        (Instant(NOW.wall - 1, NOW.boot), True),
        (Instant(NOW.wall + DAY, NOW.boot - DAY), True),
    ],
)
def test_a_moment_is_reached_when_either_clock_reaches_it(  # F16
    now: Instant, *, reached: bool
) -> None:
    assert NOW.reached(now) is reached


@TRIES
@given(instants(), instants())
def test_seconds_are_left_only_until_a_moment_is_reached(moment: Instant, now: Instant) -> None:
    assert (moment.left(now) <= 0) is moment.reached(now)


@TRIES
@given(instants(), st.integers(0, 10**6))
def test_a_moment_moves_on_both_clocks(moment: Instant, seconds: int) -> None:
    moved = moment.after(seconds)
    assert moved == (moment.wall + seconds, moment.boot + seconds)
    assert moved.earlier(moment) == moment.earlier(moved) == moment


def test_the_earlier_of_two_is_the_earlier_on_each_clock() -> None:
    assert Instant(1, 9).earlier(Instant(5, 2)) == Instant(1, 2)


def test_long_ago_is_over_at_any_time() -> None:
    assert LONG_AGO.reached(Instant(0.0, 0.0))
    assert LONG_AGO.left(NOW) < 0
