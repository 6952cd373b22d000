"""Runs the console command in its own process, without the settings of this user."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.testing import TokenServer

COMMAND = Path(sysconfig.get_path("scripts")) / "evertoken"

LONGEST = 60.0
"""Seconds after which a command that should have ended is assumed to hang."""

# replaces the importer for sys.path, so that these packages appear not to be installed
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""


def without(*missing: str, at: Path) -> str:
    """A `PYTHONPATH` with which an interpreter does not find the packages `missing`."""
    (at / "sitecustomize.py").write_text(WITHOUT.format(missing=missing))
    return os.pathsep.join([str(at), os.environ.get("PYTHONPATH", "")])


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without `SQUADRUN_*`, and without a proxy for loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SQUADRUN_")}
    return {**kept, "no_proxy": "*", **changes}


def account_of(server: TokenServer) -> dict[str, str]:
    """The variables for an account at `server` on a system without a keyring."""
    return {
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "SQUADRUN_BASE_URL": server.base_url,
        "SQUADRUN_CLIENT_ID": server.client_id,
        "SQUADRUN_CLIENT_SECRET": server.client_secret,
        "SQUADRUN_USERNAME": server.username,
        "SQUADRUN_PASSWORD": server.password,
    }


def ran(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `evertoken` to its end; `changes` are environment variables."""
    return subprocess.run(  # noqa: S603  the command under test
        [COMMAND, *arguments],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


@contextmanager
def running(*arguments: str, **changes: str) -> Iterator[subprocess.Popen[str]]:
    """Start `evertoken` in its own process group, like a terminal's job."""
    with subprocess.Popen(  # noqa: S603  the command under test
        [COMMAND, *arguments],
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def stream_of(stream: IO[str] | None) -> IO[str]:
    """A stream that was opened as a pipe."""
    assert stream is not None
    return stream


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The error message of a command that failed with status 2 and no other output."""
    assert done.returncode == 2
    assert done.stdout == ""
    *before, last = done.stderr.splitlines()
    # click prints its usage before an error about an option
    assert all(line.startswith(("Usage: ", "Try ")) or not line for line in before), done.stderr
    return last
