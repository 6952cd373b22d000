"""Runs commands as in a container: as a random user, on a read-only disk, as process 1."""

from __future__ import annotations

import functools
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.console import LONGEST, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RANDOM_USER = ("--user", "--map-user=54321", "--map-group=54321")
"""As a user without a passwd entry, who owns the files of the user who runs the tests."""

_MOUNTING = """
mount -t tmpfs -o mode=0700 tmpfs "$HOME" && mkdir -m 0700 "$HOME/there" &&
mount -o remount,ro "$HOME" && exec "$@"
"""

READ_ONLY_HOME = ("--user", "--map-root-user", "--mount", "sh", "-c", _MOUNTING, "sh")
"""With a read-only home that contains a folder named "there"."""

PROCESS_1 = ("--user", "--map-root-user", "--fork", "--pid", "--kill-child")
"""As process 1 of a namespace."""


def contained(
    container: tuple[str, ...], *command: object, at: Path, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end in a container; `changes` as for `containing`."""
    with containing(container, *command, at=at, **changes) as process:
        output, errors = process.communicate(timeout=LONGEST)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@contextmanager
def containing(
    container: tuple[str, ...], *command: object, at: Path, **changes: str
) -> Iterator[subprocess.Popen[str]]:
    """Start `command` in a container with umask 000; skip if containers are not allowed.

    Args:
        container: one of the prefixes above.
        command: the program and its arguments.
        at: the working folder.
        changes: environment variables; an empty one is unset.
    """
    if (obstacle := _obstacle(container)) is not None:
        pytest.skip(f"`unshare {' '.join(container)}` does not work here: {obstacle}")
    variables = {name: value for name, value in environment(**changes).items() if value}
    with subprocess.Popen(  # noqa: S603  the command under test
        ["unshare", *container, *map(str, command)],  # noqa: S607  likewise
        cwd=at,
        env=variables,
        umask=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@functools.cache
def _obstacle(container: tuple[str, ...]) -> str | None:
    if shutil.which("unshare") is None:
        return "there is no such command"
    tried = subprocess.run(  # noqa: S603  fixed words
        ["unshare", *container, "true"],  # noqa: S607  likewise
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr.strip() if tried.returncode else None
