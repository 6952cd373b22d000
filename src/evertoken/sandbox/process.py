"""Runs a sandbox as a child process, so that the parent does not load Django."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile
from threading import Timer
from typing import IO, TYPE_CHECKING, Final

import requests

from evertoken.sandbox.environment import environment
from evertoken.sandbox.errors import SandboxError, require_extra
from evertoken.sandbox.options import TEN_HOURS, AuthFailure, DataDirectory, Options
from evertoken.sandbox.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Iterator

_READY_WITHIN: Final = 60.0  # seconds
_ENDED_WITHIN: Final = 10.0  # seconds; requests in progress get 5 of them


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox.

    Attributes:
        base_url: its URL, without a trailing slash.
        pid: process id of the server.
    """

    base_url: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """The `SQUADRUN_*` variables that point a client at it."""
        return environment(self.base_url)

    def stats(self) -> Stats:
        """What it has counted so far.

        Raises:
            requests.RequestException: it does not answer within 30 s.
        """
        with requests.Session() as session:
            session.trust_env = False  # no proxy between a process and its child
            response = session.get(f"{self.base_url}/sandbox/stats/", timeout=30)
        response.raise_for_status()
        return Stats.from_document(response.json())


@contextmanager
def serve(
    *,
    port: int = 0,
    expires_in: int = TEN_HOURS,
    auth_failure: AuthFailure = 401,
    rate_limit: int | None = None,
    data: DataDirectory | None = None,
    fast_hashing: bool = False,
    refresh_rotation: bool = False,
    grace: int = 0,
    host: str = "127.0.0.1",
) -> Iterator[Sandbox]:
    """Serve a sandbox in a child process during a `with` block.

    The arguments are those of `Options`. The child ends with the block. It also ends if this
    process is killed, when its standard input is closed by this process and all processes forked
    from it.

    Raises:
        MissingExtra: the extra `sandbox` is not installed.
        SandboxError: the port is taken, or the data directory cannot be used.
        ValueError: an argument is out of range.
    """
    options = Options(
        port=port,
        expires_in=expires_in,
        auth_failure=auth_failure,
        rate_limit=rate_limit,
        data=data,
        fast_hashing=fast_hashing,
        refresh_rotation=refresh_rotation,
        grace=grace,
        host=host,
    )
    require_extra()
    # a file, not a pipe: nobody reads it meanwhile, and a full pipe would block the server
    with TemporaryFile() as errors, _start(options, errors) as process:
        try:
            yield Sandbox(_base_url(process, errors), process.pid)
        finally:
            _end(process)


def _start(options: Options, errors: IO[bytes]) -> subprocess.Popen[str]:
    chosen = json.dumps(asdict(options), default=os.fspath)
    return subprocess.Popen(  # noqa: S603 - this interpreter, with checked options
        [sys.executable, "-m", "evertoken.sandbox", chosen],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
        # Ctrl-C in a terminal is meant for the parent, which ends its child itself
        start_new_session=True,
    )


def _base_url(process: subprocess.Popen[str], errors: IO[bytes]) -> str:
    """Wait until the server is ready."""
    limit = Timer(_READY_WITHIN, process.kill)
    limit.start()
    try:
        for line in process.stdout or ():
            name, _, value = line.rstrip().partition("=")
            if name == "SQUADRUN_BASE_URL":
                return value
    finally:
        limit.cancel()
    raise SandboxError(_reason(process, errors))


def _reason(process: subprocess.Popen[str], errors: IO[bytes]) -> str:
    status = process.wait(_ENDED_WITHIN)
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"the sandbox ended with status {status} before it was ready"


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
