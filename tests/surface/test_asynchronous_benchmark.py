"""The asynchronous benchmark measures clients that really renew."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_each_client_of_a_smoke_run_has_renewed_its_token() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.asynchronous", "--smoke"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    grants = dict(re.findall(r"^ +(\S.*?)  .* (\d+)$", ran.stdout, re.MULTILINE))
    ours = {name: int(count) for name, count in grants.items() if name.startswith("evertoken")}
    assert ours == dict.fromkeys([f"evertoken, {it}" for it in ("httpx", "httpx2", "aiohttp")], 2)
