"""Scripts that are shorter than a grant do not each make one for nobody."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support.host_run import Trial

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

LIFETIME = 8
"""Seconds: its last quarter is long enough for several runs."""

RUNNERS = 2


def test_runs_in_the_last_quarter_of_a_token_cost_one_grant_more_at_most(tmp_path: Path) -> None:
    # F37
    with Trial(tmp_path, shared=True) as trial:
        trial.server.expires_in = LIFETIME
        trial.server.latency = 0.5
        end = time.monotonic() + 2 * LIFETIME

        def run() -> None:
            while time.monotonic() < end:
                trial.run([sys.executable, "-m", "support.host_script", "once"], within=20)

        with ThreadPoolExecutor(RUNNERS) as runners:
            for done in [runners.submit(run) for _ in range(RUNNERS)]:
                done.result()
        report = trial.report()
        used = {request.headers["Authorization"] for request in trial.server.api.requests}
    assert list(report.failures()) == [], report.log
    assert len(used) >= 2
    assert trial.server.grants <= len(used) + 1, f"{len(report.calls)} runs used {len(used)} tokens"
