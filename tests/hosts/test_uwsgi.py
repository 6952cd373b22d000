"""A manager made at import works in each worker of uWSGI, which forks without Python's hooks."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from support.host_load import under_load
from support.host_run import LOAD, Trial
from support.host_uwsgi import WORKERS, Uwsgi

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(params=[True, False], ids=["threads", "no_threads"])
def uwsgi(request: pytest.FixtureRequest) -> Uwsgi:
    return Uwsgi(threads=request.param)


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_workers_forked_during_a_token_request_have_tokens(  # F29
    tmp_path: Path, uwsgi: Uwsgi, *, shared: bool
) -> None:
    with Trial(tmp_path, shared=shared, warm_up=True) as trial:
        trial.slow_first_grant(gate=True)
        with uwsgi.serving(trial):
            trial.open_gate()
            load = trial.load(uwsgi.port)
        report = trial.report(load)
    # the master may hold the file's lock forever; each worker then sends its own request
    assert report.broken_promises(workers=WORKERS, askers=WORKERS, spare=1) == [], report.log


def test_workers_forked_at_the_start_of_a_renewal_have_tokens(  # F29
    tmp_path: Path, uwsgi: Uwsgi
) -> None:
    with Trial(tmp_path, warm_up=True) as trial:
        trial.slow_first_grant()
        with uwsgi.serving(trial):
            load = trial.load(uwsgi.port)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, askers=WORKERS, spare=1) == [], report.log


@pytest.mark.parametrize(
    "options",
    [[], ["--py-call-osafterfork"], ["--py-call-uwsgi-fork-hooks"], ["--lazy-apps"]],
    ids=["plain", "osafterfork", "fork_hooks", "lazy_apps"],
)
def test_workers_share_the_token_of_a_manager_that_keeps_fresh(  # F29
    tmp_path: Path, uwsgi: Uwsgi, options: Sequence[str]
) -> None:
    with Trial(tmp_path, shared=True, keep_fresh=True) as trial:
        trial.slow_first_grant()
        with uwsgi.serving(trial, *options):
            load = trial.load(uwsgi.port)
        report = trial.report(load)
    # the master makes the first grant; each worker may once go on without the lock that it holds
    assert report.broken_promises(workers=WORKERS, spare=WORKERS) == [], report.log


def test_a_graceful_reload_loses_no_call(tmp_path: Path, uwsgi: Uwsgi) -> None:  # F29
    with Trial(tmp_path, shared=True, keep_fresh=True) as trial:
        with uwsgi.serving(trial) as host, under_load(uwsgi.port) as load:
            time.sleep(LOAD / 2)
            before = trial.report().pids(last=LOAD)
            host.send_signal(signal.SIGHUP)
            time.sleep(LOAD)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, spare=1) == [], report.log
    assert report.pids(last=1.0).isdisjoint(before)
