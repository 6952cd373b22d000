"""Runs a host whose processes get their tokens from a token server, and reports on it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import requests

import evertoken
from evertoken.testing import Delay, TokenServer
from support.fleet import eventually
from support.fleet_worker import environment
from support.host_call import Settings, reported
from support.host_load import ANSWERED_WITHIN, under_load
from support.host_report import LIFETIME, Load, Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evertoken.testing import Exchange
    from evertoken.testing.answers import Step

LOAD = 9.0
"""Seconds of load: a third token is due after six and a half."""

FIRST_GRANT = 0.7
"""Seconds of a slow grant: long enough to fork workers, short enough for them to wait."""

ENDED_WITHIN = 10.0
"""Seconds after which a host that was told to end is assumed to hang."""


class Trial:
    """A token server and a host.

    Args:
        place: an empty folder.
        shared: whether the host's processes share a `FileStore`.
        options: more of the host's `Settings`.
    """

    def __init__(self, place: Path, *, shared: bool = False, **options: object) -> None:
        self.server = TokenServer(expires_in=LIFETIME, latency=0.15)
        self._denials = CountedDenials()
        self._calls = place / "calls"
        self._log = place / "host.log"
        self._gate = place / "gate"
        self._hung = False
        self._options = options
        if shared:
            options["folder"] = str(place / "tokens")

    def __enter__(self) -> Self:
        self.server.start()
        self._calls.touch()
        # long enough for requests to overlap, so that each worker gets some
        self.server.api.latency = 0.02
        self.server.api.answer_always(self._denials)
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.close()

    def slow_first_grant(self, *, gate: bool = False) -> None:
        """Make the first grant slow; with a gate, the import waits for `open_gate`."""
        self.server.answer_next(Delay(FIRST_GRANT))
        if gate:
            self._options["gate"] = str(self._gate)

    def open_gate(self) -> None:
        """Let the import end once the first token request is in flight."""
        self.server.wait_for_requests(1)
        self._gate.touch()

    @contextmanager
    def running(self, command: Sequence[str], **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the host; it is told to end at the end of the block, and killed if it does not.

        Args:
            command: starts the host.
            more: further environment variables.
        """
        settings = Settings.of(self.server, self._calls, **self._options)
        variables = environment(**settings.environment(), **more)
        with self._log.open("ab") as log:
            host = subprocess.Popen(  # noqa: S603  a test's own command
                command, stdout=log, stderr=log, env=variables, start_new_session=True
            )
        try:
            yield host
            host.terminate()
            self._hung = not _ends(host)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(host.pid, signal.SIGKILL)
            host.wait()

    @contextmanager
    def serving(
        self, command: Sequence[str], port: int, **more: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Like `running`, but waits until the host accepts connections."""
        with self.running(command, **more) as host:
            eventually(lambda: _accepts(port) or host.poll() is not None)
            assert host.poll() is None, self._log.read_text()
            yield host

    def finish(self, command: Sequence[str]) -> int:
        """Wait for the host to end on its own, and return its exit status."""
        with self.running(command) as host:
            return host.wait(60)

    def load(self, port: int, *, seconds: float = LOAD) -> Load:
        """The seconds of load, from the end of the first call."""
        with under_load(port) as load:
            with contextlib.suppress(AssertionError):
                eventually(lambda: reported(self._calls), within=ANSWERED_WITHIN)
            time.sleep(seconds)
        return load

    def report(self, load: Load | None = None) -> Report:
        """The report so far."""
        return Report(
            calls=reported(self._calls),
            load=load or Load(),
            granted=[request.at for request in self.server.token_endpoint.requests],
            denials=self._denials.count,
            hung=self._hung,
            log=self._log.read_text(),
        )


class CountedDenials:
    """The usual API; counts answers other than 200."""

    def __init__(self) -> None:
        self.count = 0

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Send the usual answer, and count it."""
        answer = exchange.usual()
        self.count += answer.status != 200
        yield from answer.steps(exchange)


def foreign_path() -> str:
    """PYTHONPATH for an interpreter of the same version outside this environment."""
    files = [__file__, evertoken.__file__, requests.__file__]
    return os.pathsep.join(str(Path(file).parents[1]) for file in files)


def _ends(host: subprocess.Popen[bytes]) -> bool:
    try:
        host.wait(ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        return False
    return True


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
