"""A manager made at import works in each worker of uWSGI, which forks without Python's hooks."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.host_run import LOAD, Trial, foreign_path, loaded, under_load
from support.valkey import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow

WORKERS = 2

INSTALLED = shutil.which("uwsgi", path=str(Path(sys.executable).parent))
"""PyPI's: since 2.0.31 its workers always have threads."""

DEBIANS = shutil.which("uwsgi_python3")
"""Debian's: its workers have threads only with `--enable-threads`."""


class Uwsgi:
    """One of the two programs.

    Skips if it is not installed, or runs another Python.
    """

    def __init__(self, *, threads: bool) -> None:
        self.port = free_port()
        self.variables: dict[str, str] = {}
        if threads:
            if INSTALLED is None:
                pytest.skip("uwsgi is not installed: see the extra `hosts`")
            self._command = [INSTALLED, "--enable-threads", "--home", sys.prefix]
        else:
            if DEBIANS is None:
                pytest.skip("uwsgi without threads needs Debian's uwsgi-plugin-python3")
            said = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, check=True)
            if f"{sys.version_info.major}.{sys.version_info.minor}." not in said.stdout.decode():
                pytest.skip(f"Debian's uwsgi runs {said.stdout!r}")
            self._command = [DEBIANS]
            self.variables["PYTHONPATH"] = foreign_path()

    def command(self, options: Sequence[str]) -> list[str]:
        """What serves the application."""
        command = [*self._command, "--http-socket", f"127.0.0.1:{self.port}", "--master"]
        command += ["--processes", str(WORKERS), "--module", "support.host_app", "--need-app"]
        return [*command, "--die-on-term", "--disable-logging", *options]


@pytest.fixture(params=[True, False], ids=["threads", "no_threads"])
def uwsgi(request: pytest.FixtureRequest) -> Uwsgi:
    return Uwsgi(threads=request.param)


def load(trial: Trial, uwsgi: Uwsgi, *options: str):
    with trial.serving(uwsgi.command(options), uwsgi.port, **uwsgi.variables):
        return loaded(uwsgi.port)


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_workers_forked_during_a_token_request_have_tokens(  # F29
    tmp_path: Path, uwsgi: Uwsgi, *, shared: bool
) -> None:
    with Trial(tmp_path, shared=shared, warm_up=True) as trial:
        trial.hang_first_grant(gate=True)
        with trial.serving(uwsgi.command([]), uwsgi.port, **uwsgi.variables):
            trial.open_gate()
            load = loaded(uwsgi.port)
        report = trial.report(load)
    askers = 1 if shared else WORKERS
    assert report.broken_promises(workers=WORKERS, askers=askers, spare=2) == [], report.log


def test_workers_forked_at_the_start_of_a_renewal_have_tokens(  # F29
    tmp_path: Path, uwsgi: Uwsgi
) -> None:
    with Trial(tmp_path, warm_up=True) as trial:
        trial.hang_first_grant(gate=False)
        with trial.serving(uwsgi.command([]), uwsgi.port, **uwsgi.variables):
            load = loaded(uwsgi.port)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, askers=WORKERS, spare=1) == [], report.log


@pytest.mark.parametrize("options", [[], ["--py-call-osafterfork"], ["--lazy-apps"]], ids=["", "osafterfork", "lazy-apps"])
def test_a_manager_that_keeps_fresh_serves_workers_forked_after_it(  # F29
    tmp_path: Path, uwsgi: Uwsgi, options: Sequence[str]
) -> None:
    with Trial(tmp_path, shared=True, keep_fresh=True) as trial:
        with trial.serving(uwsgi.command(options), uwsgi.port, **uwsgi.variables):
            load = loaded(uwsgi.port)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, spare=1) == [], report.log


def test_a_reload_loses_no_call(tmp_path: Path, uwsgi: Uwsgi) -> None:
    with Trial(tmp_path, shared=True, keep_fresh=True) as trial:
        with trial.serving(uwsgi.command([]), uwsgi.port, **uwsgi.variables) as host:
            with under_load(uwsgi.port) as load:
                time.sleep(LOAD / 2)
                before = {call.pid for call in trial.report().calls}
                host.send_signal(signal.SIGHUP)
                time.sleep(LOAD / 2)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, spare=1) == [], report.log
