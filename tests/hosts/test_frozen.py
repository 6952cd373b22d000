"""A host frozen for longer than a token's lifetime and a request's deadline fails no call."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from support.host_gunicorn import gunicorn
from support.host_load import under_load
from support.host_report import LIFETIME
from support.host_run import Trial
from support.valkey import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

FROZEN = LIFETIME + 1
"""Seconds: longer than a token's lifetime and a request's deadline."""

SPELL = 4.5
"""Seconds of load before and after the freeze."""


@pytest.mark.parametrize(
    ("moment", "shared"),
    [("idle", False), ("renewing", False), ("renewing", True), ("connection_lost", False)],
)
def test_a_thawed_host_serves_at_once(tmp_path: Path, moment: str, *, shared: bool) -> None:  # F30
    port = free_port()
    with Trial(tmp_path, shared=shared) as trial:
        with trial.serving(gunicorn(port, "gthread", workers=1), port) as host:
            trial.load(port, seconds=SPELL)
            if moment != "idle":
                trial.server.hang()
                asked = trial.server.token_requests
                while trial.server.token_requests == asked:
                    trial.load(port, seconds=0.1)
            os.killpg(host.pid, signal.SIGSTOP)
            if moment == "connection_lost":
                trial.server.close()
                trial.server.start()
            trial.server.recover()
            # requests that queue up meanwhile get the result of the renewal
            with under_load(port) as load:
                time.sleep(FROZEN)
                os.killpg(host.pid, signal.SIGCONT)
                time.sleep(SPELL)
        report = trial.report(load)
    assert report.broken_promises(spare=1) == [], report.log
