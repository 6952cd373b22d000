"""Isolated sub-interpreters: each has its own interpreter lock, and none starts a daemon thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from evertoken.testing import TokenServer
from support.fleet_worker import TESTS, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from support.sub_interpreters import Seen

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info < (3, 14), reason="they came with Python 3.14"),
]

COUNT = 3
LIFETIME = 4
LIFETIMES = 3
SECONDS = LIFETIMES * LIFETIME


@pytest.mark.parametrize("keep_fresh", [False, True], ids=["on demand", "keep_fresh"])
def test_calls_succeed_in_every_interpreter_over_several_lifetimes(
    tmp_path: Path, *, keep_fresh: bool
) -> None:
    with TokenServer(expires_in=LIFETIME) as server:
        settings = Settings.of(server, directory=str(tmp_path / "tokens"), seconds=SECONDS)
        given = [str(COUNT), json.dumps(asdict(settings)), server.api_url, str(int(keep_fresh))]
        ran = subprocess.run(  # noqa: S603  this interpreter
            [sys.executable, "-m", "support.sub_interpreters", *given],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            capture_output=True,
            text=True,
            timeout=SECONDS + 60,
            check=False,
        )
        sent = [it for it in server.requests if server.api_url.endswith(it.path)]

    assert ran.returncode == 0, ran.stderr
    everyone: list[Seen] = json.loads(ran.stdout)
    failures = [failure for each in everyone for failure in each["failures"]]
    calls = sum(each["calls"] for each in everyone)
    assert not failures, f"{len(failures)} of {calls} calls: {failures[0]}"
    assert {status for each in everyone for status in each["statuses"]} == {200}
    assert len(sent) == calls, "a 401 has its request sent again"
    assert all(each["calls"] > LIFETIMES for each in everyone)
    # renewed in its last quarter, a token is used for at least three quarters of its lifetime
    assert LIFETIMES <= server.grants <= LIFETIMES * 4 / 3 + 2
    assert max(each["longest"] for each in everyone) < settings.timeout
