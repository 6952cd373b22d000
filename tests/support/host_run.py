"""Runs a host against a token server, and keeps it busy with a few clients."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import requests

import evertoken
from evertoken.testing import Hang, TokenServer
from support.fleet import eventually
from support.fleet_worker import environment
from support.host_call import Settings, reported
from support.host_report import LIFETIME, Load, Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evertoken.testing import Exchange
    from evertoken.testing.answers import Step

LOAD = 9.0
"""Seconds of load: a third token is due after six and a half."""

CLIENTS = 4

PACE = 0.03
"""Seconds between two requests of a client."""

ANSWERED_WITHIN = 10.0
"""Seconds after which a client gives a request up."""

ENDED_WITHIN = 10.0
"""Seconds after which a host that was told to end is taken for one that hangs."""


class CountedDenials:
    """The API as usual; counts what it did not answer with 200."""

    def __init__(self) -> None:
        self.count = 0

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """The usual answer, counted."""
        answer = exchange.usual()
        self.count += answer.status != 200
        yield from answer.steps(exchange)


class Trial:
    """A token server, and a host that gets its tokens there.

    Args:
        place: a folder of its own.
        shared: whether the host's processes share a `FileStore`.
        options: more of its `Settings`.
    """

    def __init__(self, place: Path, *, shared: bool = False, **options: object) -> None:
        self.server = TokenServer(expires_in=LIFETIME, latency=0.3)
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

    def hang_first_grant(self, *, gate: bool) -> None:
        """Never answer the first token request; with a gate, the import waits for `open_gate`."""
        self.server.answer_next(Hang())
        if gate:
            self._options["gate"] = str(self._gate)

    def open_gate(self) -> None:
        """Let the import end, once the first token request is being held."""
        self.server.wait_for_held()
        self._gate.touch()

    @contextmanager
    def running(self, command: Sequence[str], **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """The host; it is told to end at the end of the block, and killed if it does not."""
        settings = Settings.of(self.server, self._calls, **self._options)
        variables = environment(**settings.environment(), **variables)
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
        self, command: Sequence[str], port: int, **variables: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """As `running`, from when it accepts connections on."""
        with self.running(command, **variables) as host:
            eventually(lambda: _accepts(port) or host.poll() is not None)
            assert host.poll() is None, self._log.read_text()
            yield host

    def run(self, command: Sequence[str], *, within: float) -> None:
        """A host that ends by itself, and well."""
        with self.running(command) as host:
            assert host.wait(within) == 0, self._log.read_text()

    def report(self, load: Load | None = None) -> Report:
        """What has become of it all so far."""
        return Report(
            calls=reported(self._calls),
            load=load or Load(),
            granted=[request.at for request in self.server.token_endpoint.requests],
            denials=self._denials.count,
            hung=self._hung,
            log=self._log.read_text(),
        )


@contextmanager
def under_load(port: int) -> Iterator[Load]:
    """Clients keep the host busy until the end of the block."""
    load, stop = Load(), threading.Event()
    clients = [threading.Thread(target=_ask, args=(port, load, stop)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield load
    finally:
        stop.set()
        for client in clients:
            client.join()


def loaded(port: int, *, seconds: float = LOAD) -> Load:
    """The clients' account of so many seconds."""
    with under_load(port) as load:
        time.sleep(seconds)
    return load


def foreign_path() -> str:
    """PYTHONPATH for an interpreter of the same version that knows nothing of this one's venv."""
    files = [__file__, evertoken.__file__, requests.__file__]
    return os.pathsep.join(str(Path(file).parents[1]) for file in files)


def _ask(port: int, load: Load, stop: threading.Event) -> None:
    while not stop.is_set():
        load.asked += 1
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/", timeout=ANSWERED_WITHIN)
        except requests.RequestException as error:
            load.lost.append(type(error).__name__)
        else:
            if answer.status_code != 200:
                load.lost.append(str(answer.status_code))
        stop.wait(PACE)


def _ends(host: subprocess.Popen[bytes]) -> bool:
    try:
        host.wait(ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        return False
    return True


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
