"""The real protocol over simulated stores: every interleaving up to a depth, random ones beyond.

To replay a failed schedule, pass its line:
`python -m pytest tests/interleavings --schedule "cold-file:0 0 1c 0"`.
"""

from __future__ import annotations

import pytest

from interleavings.explorer import Impossible, explore, replay, wander
from interleavings.scenario import SCENARIOS, Scenario
from interleavings.server import Violation

pytestmark = pytest.mark.slow

TWO = [each for each in SCENARIOS.values() if len(each.machines) == 2]
RANDOM = 5_900
"""Schedules per scenario; more than 100,000 for all seventeen."""

DEPTH = 100
"""More steps than any schedule of two processes with one fault has."""


@pytest.mark.parametrize("scenario", TWO, ids=lambda each: each.name)
def test_every_interleaving_of_two_processes_with_one_fault_keeps_the_promises(
    scenario: Scenario,
) -> None:
    tally = explore(scenario, faults=1, depth=DEPTH)
    # each schedule ended before the limit
    assert 10 < tally.deepest < DEPTH
    assert tally.states > 1000


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda each: each.name)
def test_random_interleavings_with_two_faults_keep_the_promises(
    scenario: Scenario, *, soak: bool
) -> None:
    count = 1_000_000 if soak else RANDOM
    tally = wander(scenario, faults=2, seeds=range(count))
    assert tally.schedules == count
    # every kind of fault occurred
    assert len(tally.faults) >= 7


def test_a_schedule_is_replayed_from_its_line(request: pytest.FixtureRequest) -> None:
    line = request.config.getoption("--schedule") or "cold-file:0 0 0 0p 1"
    trace = replay(line)
    assert len(trace) == len(line.partition(":")[2].split())


def test_a_schedule_that_fails_prints_its_script_and_the_line_that_replays_it() -> None:
    line = "mixed-file:1 1 1 1"
    with pytest.raises(Impossible, match="9 cannot go on after 4 steps"):
        # the line names a process that does not exist
        replay(f"{line} 9")
    assert [each.split(":")[0].split()[-2:] for each in replay(line)] == [["process", "1"]] * 4
    assert issubclass(Violation, AssertionError)
