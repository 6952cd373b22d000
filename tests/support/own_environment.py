"""Virtual environments for packages that must not be installed beside those of the suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PIP = ("install", "--no-compile", "--disable-pip-version-check", "--quiet", "--retries=0")


@contextmanager
def own_environment(
    *arguments: str, what: str, with_suite: bool = False, **variables: str
) -> Iterator[Path]:
    """The Python of a new virtual environment; skips the test if it cannot be made.

    Args:
        arguments: of `pip install`: packages, and options.
        what: it is for.
        with_suite: whether it also finds the packages of this environment, behind its own.
        variables: of the environment of pip.
    """
    # not in pytest's directories, which keep it for three more runs: it is large
    with tempfile.TemporaryDirectory() as directory:
        python = Path(directory, "bin", "python")
        _run_or_skip(what, sys.executable, "-m", "venv", directory)
        _run_or_skip(what, str(python), "-m", "pip", *PIP, *arguments, **variables)
        if with_suite:
            [site] = Path(directory).glob("lib/*/site-packages")
            ours = sysconfig.get_path("purelib")
            (site / "suite.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        yield python


def _run_or_skip(what: str, *command: str, **variables: str) -> None:
    """Skip with the last line of a failed command's output, without a host name."""
    env = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)  # noqa: S603  literals
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines() or [f"exit {done.returncode}"]
        reason = re.split(r"\bhttp|host=", lines[-1], flags=re.IGNORECASE)[0]
        pytest.skip(f"no {what} here: {reason}")
