"""The demo's verdicts, and which measurements excuse a broken promise."""

from __future__ import annotations

import itertools

import pytest

from evertoken.demo import verdict
from evertoken.demo.verdict import Machine, Mark

KEPT, BROKEN, UNJUDGED = Mark.KEPT, Mark.BROKEN, Mark.UNJUDGED

FAST = Machine(longest_grant=0.5, time_to_renew=4.0)
LATE = Machine(longest_grant=3.2, time_to_renew=4.0)
HOPELESS = Machine(longest_grant=10.0, time_to_renew=4.0)
UNKNOWN = Machine(longest_grant=None, time_to_renew=4.0)


@pytest.mark.parametrize(
    ("machine", "missed", "outlasted"),
    [
        (UNKNOWN, False, False),
        (FAST, False, False),
        (Machine(longest_grant=3.19, time_to_renew=4.0), False, False),
        (LATE, True, False),
        (Machine(longest_grant=9.99, time_to_renew=4.0), True, False),
        (HOPELESS, True, True),
        # a lifetime of over a minute leaves time for a grant that its client has given up on
        (Machine(longest_grant=10.0, time_to_renew=100.0), False, True),
    ],
)
def test_a_machine_is_too_slow_only_from_the_thresholds_on(
    *, machine: Machine, missed: bool, outlasted: bool
) -> None:
    assert (machine.missed_renewals, machine.outlasted_clients) == (missed, outlasted)


@pytest.mark.parametrize(("kept", "excused"), [*itertools.product([True, False], repeat=2)])
def test_an_excuse_changes_only_the_mark_of_a_broken_promise(*, kept: bool, excused: bool) -> None:
    expected = KEPT if kept else UNJUDGED if excused else BROKEN

    assert verdict.marked(kept, excused=excused) is expected


class TestWaits:
    @pytest.mark.parametrize("machine", [UNKNOWN, FAST, LATE, HOPELESS])
    @pytest.mark.parametrize("stall", [0.0, 0.0499])
    def test_a_short_wait_is_kept_on_any_machine(self, machine: Machine, stall: float) -> None:
        assert verdict.of_waits(longest=0.0499, stall=stall, machine=machine) is KEPT

    @pytest.mark.parametrize("machine", [UNKNOWN, FAST])
    @pytest.mark.parametrize("longest", [0.05, 0.1, 10.0])
    def test_a_long_wait_for_a_cpu_is_not_judged(self, machine: Machine, longest: float) -> None:
        assert verdict.of_waits(longest=longest, stall=0.0499, machine=machine) is UNJUDGED

    @pytest.mark.parametrize("machine", [UNKNOWN, FAST])
    @pytest.mark.parametrize("stall", [0.05, 0.1, 10.0])
    def test_a_long_wait_with_a_cpu_is_broken(self, machine: Machine, stall: float) -> None:
        assert verdict.of_waits(longest=10.0, stall=stall, machine=machine) is BROKEN

    @pytest.mark.parametrize("machine", [LATE, HOPELESS])
    def test_a_long_wait_is_not_judged_if_a_grant_took_most_of_the_time_to_renew(
        self, machine: Machine
    ) -> None:
        assert verdict.of_waits(longest=3.0, stall=3.0, machine=machine) is UNJUDGED


class TestCalls:
    @pytest.mark.parametrize("machine", [UNKNOWN, FAST, LATE])
    def test_a_failed_call_is_broken(self, machine: Machine) -> None:
        assert verdict.of_calls(failed=1, machine=machine) is BROKEN

    def test_a_failed_call_is_not_judged_if_a_client_had_to_give_up_on_a_grant(self) -> None:
        assert verdict.of_calls(failed=1, machine=HOPELESS) is UNJUDGED

    @pytest.mark.parametrize("machine", [UNKNOWN, FAST, LATE, HOPELESS])
    def test_without_a_failed_call_the_promise_is_kept(self, machine: Machine) -> None:
        assert verdict.of_calls(failed=0, machine=machine) is KEPT


class TestUnauthorized:
    @pytest.mark.parametrize(
        ("unauthorized", "expired", "machine", "expected"),
        [
            (0, 0, FAST, KEPT),
            (0, 0, HOPELESS, KEPT),
            (1, 0, FAST, BROKEN),
            (1, 1, FAST, BROKEN),
            (1, 1, LATE, UNJUDGED),
            (2, 2, HOPELESS, UNJUDGED),
            # a machine's speed never explains a rejected live token, or a call without a token
            (2, 1, LATE, BROKEN),
            (1, 0, HOPELESS, BROKEN),
        ],
    )
    def test_a_401_is_excused_only_for_a_token_that_expired_as_its_grant_was_late(
        self, unauthorized: int, expired: int, machine: Machine, expected: Mark
    ) -> None:
        mark = verdict.of_unauthorized(unauthorized=unauthorized, expired=expired, machine=machine)

        assert mark is expected


class TestGrants:
    @pytest.mark.parametrize("machine", [FAST, LATE, HOPELESS])
    @pytest.mark.parametrize("grants", [1, 3, 4])
    def test_one_per_lifetime_and_one_more_are_kept(self, grants: int, machine: Machine) -> None:
        assert verdict.of_grants(grants=grants, lifetimes=3, machine=machine) is KEPT

    @pytest.mark.parametrize("machine", [FAST, LATE])
    def test_two_more_are_broken(self, machine: Machine) -> None:
        assert verdict.of_grants(grants=5, lifetimes=3, machine=machine) is BROKEN

    def test_two_more_are_not_judged_if_a_client_had_to_give_up_on_a_grant(self) -> None:
        assert verdict.of_grants(grants=5, lifetimes=3, machine=HOPELESS) is UNJUDGED

    @pytest.mark.parametrize("machine", [FAST, LATE, HOPELESS])
    def test_no_grant_at_all_is_broken(self, machine: Machine) -> None:
        assert verdict.of_grants(grants=0, lifetimes=3, machine=machine) is BROKEN


class TestLeads:
    @pytest.mark.parametrize(
        ("stored", "machine", "expected"),
        [
            (80, FAST, KEPT),
            (80, HOPELESS, KEPT),
            (81, FAST, BROKEN),
            (81, LATE, BROKEN),
            (81, HOPELESS, UNJUDGED),
            (79, FAST, BROKEN),
            # slowness does not lose accepted leads
            (79, HOPELESS, BROKEN),
        ],
    )
    def test_a_lead_is_excused_only_if_stored_after_its_client_gave_up(
        self, stored: int, machine: Machine, expected: Mark
    ) -> None:
        assert verdict.of_leads(stored=stored, sent=80, machine=machine) is expected


class TestRevocation:
    @pytest.mark.parametrize("machine", [UNKNOWN, FAST, LATE, HOPELESS])
    @pytest.mark.parametrize(("refused", "expected"), [(True, KEPT), (False, BROKEN)])
    def test_the_apis_answer_is_judged_on_any_machine(
        self, *, refused: bool, expected: Mark, machine: Machine
    ) -> None:
        assert verdict.of_revocation(refused=refused, machine=machine) is expected

    @pytest.mark.parametrize(
        ("machine", "expected"),
        [(UNKNOWN, BROKEN), (FAST, BROKEN), (LATE, BROKEN), (HOPELESS, UNJUDGED)],
    )
    def test_a_failed_request_is_excused_only_if_a_client_had_to_give_up_on_a_grant(
        self, machine: Machine, expected: Mark
    ) -> None:
        assert verdict.of_revocation(refused=None, machine=machine) is expected
