"""Separate hosts: network namespaces with two networks, one of which can be cut."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

PROBE = """
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()
"""


class Hosts:
    """Network namespaces that reach this host over two bridges.

    Skips if they are not allowed, or if no packet passes between them.

    Attributes:
        token_address, redis_address: of this host on either network.
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self._made = contextlib.ExitStack()
        # unique per process: another run of the suite may have its own hosts
        second, third = 200 + os.getpid() // 128 % 50, os.getpid() % 128 * 2
        self._networks = {"token": f"10.{second}.{third}", "redis": f"10.{second}.{third + 1}"}
        self.token_address = f"{self._networks['token']}.1"
        self.redis_address = f"{self._networks['redis']}.1"

    def inside(self, name: str) -> list[str]:
        """The command prefix that runs a command on this host."""
        return ["ip", "netns", "exec", _unique(name)]

    def cut_off_from_redis(self, name: str) -> None:
        """Drop its packets to Redis from now on."""
        _ip("link", "set", self._end("redis", name), "down")

    def __enter__(self) -> Self:
        if not (sys.platform == "linux" and shutil.which("ip") and os.geteuid() == 0):
            pytest.skip("network namespaces need Linux, the ip command and root")
        with contextlib.ExitStack() as made:
            try:
                self._build(made)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces are not allowed here: {error.stderr!r}")
            self._probe()
            self._made = made.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._made.close()

    def _build(self, made: contextlib.ExitStack) -> None:
        for name in self._names:
            _ip("netns", "add", _unique(name))
            made.callback(_ip, "netns", "delete", _unique(name))
        for network, prefix in self._networks.items():
            bridge = _unique(network)
            _ip("link", "add", bridge, "type", "bridge")
            made.callback(_ip, "link", "delete", bridge)
            _ip("address", "add", f"{prefix}.1/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            for number, name in enumerate(self._names, start=2):
                end, host = self._end(network, name), _unique(name)
                _ip("link", "add", end, "type", "veth", "peer", "name", network, "netns", host)
                made.callback(_ip, "link", "delete", end)
                _ip("link", "set", end, "master", bridge, "up")
                _ip("-n", host, "address", "add", f"{prefix}.{number}/24", "dev", network)
                _ip("-n", host, "link", "set", network, "up")

    def _probe(self) -> None:
        """Skip if the kernel creates namespaces and bridges, but passes no packets between them."""
        for name, address in itertools.product(
            self._names, (self.token_address, self.redis_address)
        ):
            with socket.create_server((address, 0)) as server:
                port = str(server.getsockname()[1])
                probe = [*self.inside(name), sys.executable, "-c", PROBE, address, port]
                tried = subprocess.run(probe, capture_output=True, check=False)  # noqa: S603  fixed words
            if tried.returncode:
                pytest.skip(f"a network namespace does not reach {address}: {tried.stderr!r}")

    def _end(self, network: str, name: str) -> str:
        return _unique(f"{network[0]}{self._names.index(name)}-")


@contextlib.contextmanager
def relay(address: str, url: str) -> Iterator[str]:
    """The URL by which other hosts reach `url`, a server on loopback."""
    parts = urlsplit(url)
    target = (parts.hostname, parts.port)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(target) as far:
                back = threading.Thread(target=_pump, args=(far, self.request), daemon=True)
                back.start()
                _pump(self.request, far)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server((address, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield parts._replace(netloc=f"{address}:{server.server_address[1]}").geturl()
        finally:
            server.shutdown()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _unique(name: str) -> str:
    # an interface name has at most 15 characters
    return f"{name}{os.getpid() % 100_000}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: S603, S607  fixed words
