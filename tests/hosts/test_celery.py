"""A manager made at import works in celery's pools: short-lived processes, threads, gevent."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from support.fleet import eventually
from support.host_load import PACE
from support.host_report import Load, Report
from support.host_run import LOAD, Trial
from support.valkey import Valkey

celery = pytest.importorskip("celery", reason="celery is not installed: see the extra `hosts`")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

PROCESSES = 2

PREFORK = ["--pool", "prefork", "--concurrency", str(PROCESSES), "--max-tasks-per-child", "20"]

BETWEEN_KILLS = 1.5
"""Seconds."""


@pytest.fixture
def broker() -> Iterator[str]:
    with Valkey() as valkey:
        yield valkey.url


def report_of(
    trial: Trial, broker: str, *pool: str, kill: Callable[[], None] | None = None
) -> Report:
    """Send tasks for `LOAD` seconds, and call `kill` now and then."""
    load = Load()
    with trial.running(worker(*pool)):
        sender = celery.Celery(broker=broker)

        def send() -> None:
            sender.send_task("call")
            load.asked += 1

        send()
        eventually(lambda: trial.report().calls)
        end = time.monotonic() + LOAD
        while time.monotonic() < end:
            for _ in range(int(BETWEEN_KILLS / PACE)):
                send()
                time.sleep(PACE)
            if kill is not None:
                kill()
        with contextlib.suppress(AssertionError):
            eventually(lambda: len(trial.report().calls) >= load.asked, within=10)
    load.lost += ["unanswered"] * (load.asked - len(trial.report().calls))
    return trial.report(load)


def worker(*pool: str) -> list[str]:
    """The command of a worker with this pool."""
    command = [sys.executable, "-m", "celery", "--app", "support.host_celery", "worker"]
    return [*command, "--without-gossip", "--without-mingle", "--loglevel", "WARNING", *pool]


def test_processes_that_end_after_some_tasks_share_a_token(tmp_path: Path, broker: str) -> None:
    with Trial(tmp_path, shared=True, keep_fresh=True, broker=broker) as trial:
        report = report_of(trial, broker, *PREFORK)
    # a process that ends in the middle of a renewal may lose its token
    assert report.broken_promises(workers=PROCESSES, spare=2) == [], report.log


def test_killed_processes_cost_at_most_one_grant_each(tmp_path: Path, broker: str) -> None:
    killed: list[int] = []

    def kill() -> None:
        pid = trial.report().calls[-1].pid
        # it may have ended already
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with Trial(tmp_path, shared=True, keep_fresh=True, broker=broker) as trial:
        report = report_of(trial, broker, *PREFORK, kill=kill)
    assert len(killed) >= 3
    assert report.broken_promises(workers=PROCESSES, spare=2 + len(killed)) == [], report.log


@pytest.mark.parametrize("pool", ["threads", "gevent"])
def test_a_pool_inside_one_process_has_one_grant_per_lifetime(
    tmp_path: Path, broker: str, pool: str
) -> None:
    if pool == "gevent":
        pytest.importorskip("gevent", reason="gevent is not installed: see the extra `hosts`")
    with Trial(tmp_path, keep_fresh=True, broker=broker) as trial:
        report = report_of(trial, broker, "--pool", pool, "--concurrency", "4")
    assert report.broken_promises() == [], report.log
