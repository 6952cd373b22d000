"""Scripts shorter than a grant do not each start one that nobody uses."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support.host_run import Trial
from support.host_script import WORK

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

LIFETIME = 16
"""Seconds. The last quarter of the lifetime is long enough for several runs."""

BEFORE = 10.0
"""Seconds in which no token is due, whatever the jitter."""

RUNNERS = 3

GRANT = WORK + 0.2
"""Seconds that a grant takes; less than one second remains when the run that began it ends."""


def used_tokens(trial: Trial) -> set[str]:
    """The headers with which the API was called."""
    return {request.headers["Authorization"] for request in trial.server.api.requests}


def run_once(trial: Trial) -> None:
    assert trial.finish([sys.executable, "-m", "support.host_script", "once"]) == 0


def run_until_replaced(trial: Trial) -> None:
    while len(used_tokens(trial)) == 1:
        run_once(trial)


def test_runs_in_the_last_quarter_of_a_lifetime_cost_at_most_one_more_grant(tmp_path: Path) -> None:
    # F37
    with Trial(tmp_path, shared=True) as trial:
        trial.server.expires_in = LIFETIME
        trial.server.latency = GRANT
        run_once(trial)
        time.sleep(BEFORE)
        with ThreadPoolExecutor(RUNNERS) as runners:
            for done in [runners.submit(run_until_replaced, trial) for _ in range(RUNNERS)]:
                done.result()
        report = trial.report()
        used = used_tokens(trial)
    assert list(report.failures()) == [], report.log
    assert trial.server.grants <= len(used) + 1, f"{len(report.calls)} runs used {len(used)} tokens"
