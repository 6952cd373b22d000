"""Isolated sub-interpreters: each has a lock of its own, and none starts a daemon thread."""

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


def test_calls_succeed_in_every_interpreter_over_several_lifetimes(tmp_path: Path) -> None:
    with TokenServer(expires_in=LIFETIME) as server:
        seconds = LIFETIMES * LIFETIME
        settings = Settings.of(server, directory=str(tmp_path / "tokens"), seconds=seconds)
        given = [str(COUNT), json.dumps(asdict(settings)), server.api_url]
        ran = subprocess.run(  # noqa: S603  this interpreter
            [sys.executable, "-m", "support.sub_interpreters", *given],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        refused = [it.path for it in server.requests if it.status == 401]

    assert ran.returncode == 0, ran.stderr
    everyone: list[Seen] = json.loads(ran.stdout)
    assert [it["failures"][:1] for it in everyone] == [[]] * COUNT
    assert all(it["calls"] > LIFETIMES for it in everyone)
    assert {status for it in everyone for status in it["statuses"]} == {200}
    assert refused == []
    # a token is renewed in its last quarter, so that there may be a third more than lifetimes
    assert server.grants <= LIFETIMES * 4 / 3 + 2
    assert max(it["longest"] for it in everyone) < settings.timeout
