"""The token lifetime and the length of a run of the demo."""

from __future__ import annotations

import pytest

from evertoken.demo.pace import GRANTS_PER_WINDOW, Pace, lifetime_for, lifetimes, pace, run_of


class TestLifetime:
    @pytest.mark.parametrize("grant", [0.2, 0.25, 0.47, 0.5, 0.7])
    def test_leaves_a_renewal_the_time_of_ten_grants(self, grant: float) -> None:
        window = Pace(expires_in=lifetime_for(grant), seconds=1.0).window

        assert GRANTS_PER_WINDOW == 10
        assert 10 <= window / grant < 12

    @pytest.mark.parametrize(
        ("grant", "lifetime"), [(0.0, 6), (0.005, 6), (0.5, 20), (0.75, 30), (1.2, 30), (60.0, 30)]
    )
    def test_is_6_to_30_seconds(self, grant: float, lifetime: int) -> None:
        assert lifetime_for(grant) == lifetime


class TestRun:
    @pytest.mark.parametrize("expires_in", [2, 6, 20, 30])
    def test_sees_two_renewals_and_stops_before_a_third_is_due(self, expires_in: int) -> None:
        latest = expires_in * 0.75
        earliest = latest - expires_in / 16

        assert 2 * latest < run_of(expires_in) < 3 * earliest
        assert lifetimes(run_of(expires_in), expires_in) == 3

    def test_lasts_a_minute_at_most(self) -> None:
        assert run_of(30) < run_of(36_000) == 60.0

    def test_takes_half_a_minute_if_a_grant_takes_half_a_second(self) -> None:
        assert pace(expires_in=None, seconds=None, grant=0.5).seconds == 37.5


class TestPace:
    def test_follows_the_given_options(self) -> None:
        asked = pace(expires_in=7, seconds=3.0, grant=None)

        assert (asked.expires_in, asked.seconds) == (7, 3.0)
        assert asked.reason() == "tokens of 7 s, as asked; calling for 3 s"

    def test_explains_the_chosen_times(self) -> None:
        assert pace(expires_in=None, seconds=None, grant=0.47).reason() == (
            "a grant takes this machine 0.47 s: tokens of 19 s, room for 10 in the last quarter; "
            "calling for 36 s"
        )
        assert pace(expires_in=None, seconds=None, grant=1.5).reason() == (
            "a grant takes this machine 1.5 s: tokens of 30 s, room for 5 in the last quarter; "
            "calling for 56 s"
        )

    def test_calls_have_to_wait_once_the_margin_before_expiry_is_reached(self) -> None:
        assert Pace(expires_in=20, seconds=1.0).time_to_renew == 5.0 - 1.0

    @pytest.mark.parametrize(
        ("seconds", "expires_in", "expected"),
        # a token of 4 s is renewed after 2.75 s at the earliest, one of 10 h after 35,850 s
        [(0.1, 4, 1), (2.75, 4, 1), (2.76, 4, 2), (120, 4, 44), (35_850, 36_000, 1)],
    )
    def test_counts_lifetimes_by_the_earliest_renewals(
        self, seconds: float, expires_in: float, expected: int
    ) -> None:
        assert lifetimes(seconds, expires_in) == expected
