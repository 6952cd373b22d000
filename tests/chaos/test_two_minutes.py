"""Two minutes of a fleet that is broken on purpose: every promise is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.skipif(sys.platform != "linux", reason="the processes of a fleet are read from /proc")
def test_a_fleet_that_is_broken_for_two_minutes_keeps_every_promise() -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", "--seed", "7", "--minutes", "2"]
    done = subprocess.run(  # noqa: S603  this project's own command
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Violations: 0" in done.stdout
