"""uWSGI with and without threads in its workers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.host_run import Trial, foreign_path
from support.valkey import free_port

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

WORKERS = 2

INSTALLED = shutil.which("uwsgi", path=str(Path(sys.executable).parent))
"""PyPI's uWSGI: from 2.0.31 on its workers always have threads."""

DEBIANS = shutil.which("uwsgi_python3")
"""Debian's uWSGI: its workers have threads only with `--enable-threads`."""


class Uwsgi:
    """A command and its port.

    Skips if the program is not installed, or embeds another Python.
    """

    def __init__(self, *, threads: bool) -> None:
        self.port = free_port()
        self._variables: dict[str, str] = {}
        if threads:
            if INSTALLED is None:
                pytest.skip("uwsgi is not installed: see the extra `hosts`")
            self._program = [INSTALLED, "--enable-threads", "--home", sys.prefix]
        else:
            self._program = [_of_debian()]
            self._variables["PYTHONPATH"] = foreign_path()

    def serving(
        self, trial: Trial, *options: str
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Serve; workers are forked after the import, unless an option changes that."""
        command = [*self._program, "--http-socket", f"127.0.0.1:{self.port}", "--master"]
        command += ["--processes", str(WORKERS), "--module", "support.host_app", "--need-app"]
        command += ["--die-on-term", "--disable-logging", *options]
        return trial.serving(command, self.port, **self._variables)


def _of_debian() -> str:
    if DEBIANS is None:
        pytest.skip("uwsgi without threads needs Debian's uwsgi-plugin-python3")
    said = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, text=True, check=True)
    if f" {sys.version_info.major}.{sys.version_info.minor}." not in said.stdout:
        pytest.skip(f"Debian's uwsgi runs {said.stdout.strip()}")
    return DEBIANS
