"""A login with a rotating refresh token holds in a fleet of processes, and when they are killed.

Small sizes of `python -m benchmarks.shared_login`; that command has the large ones.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]


def ran(*arguments: str) -> str:
    """What the command printed."""
    done = subprocess.run(  # noqa: S603  this project's own command
        [sys.executable, "-m", "benchmarks.shared_login", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("place", "processes"), [("file", ["--processes", "6"]), ("valkey", ["--processes", "2"])]
)
def test_a_fleet_posts_once_for_each_lifetime_and_no_call_fails(
    place: str, processes: list[str]
) -> None:
    said = ran(place, *processes, "--lifetimes", "6", "--lifetime", "2")
    # how long the longest call takes is no matter of a busy machine's suite
    assert "alive at the end   6 of 6" in said
    posts, good = map(int, re.findall(r"posts +(\d+), of which (\d+)", said)[0])
    assert posts == good >= 6
    assert "used a second time   0" in said
    assert re.search(r"failed calls +0 of", said)


def test_no_kill_costs_a_login_at_a_server_with_a_grace_period() -> None:
    said = ran("kills", "--kills", "60", "--grace", "60")
    assert "logins lost 0" in said
    assert int(re.findall(r"refresh posts (\d+)", said)[0]) > 0
