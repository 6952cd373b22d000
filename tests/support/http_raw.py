"""Servers below HTTP: one that sends given bytes, and one that never accepts a connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class RawServer:
    """Passes each connection on loopback to `talk`, in its own thread, and closes it afterwards.

    `closing` is set at the end; use it to wait.
    """

    def __init__(self, talk: Callable[[socket.socket, threading.Event], None]) -> None:
        self.closing = threading.Event()
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(lambda it=connection: self._serve(it))  # type: ignore[misc]  # bound now

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._talk(connection, self.closing)


def dripping(head: bytes, drop: bytes, interval: float = 0.02) -> RawServer:
    """A server that sends `head`, then `drop` repeatedly until the client disconnects."""

    def talk(connection: socket.socket, closing: threading.Event) -> None:
        connection.recv(1 << 16)
        connection.sendall(head)
        while not closing.wait(interval):
            connection.sendall(drop)

    return RawServer(talk)


@contextlib.contextmanager
def black_holes(count: int) -> Iterator[tuple[list[str], int]]:
    """`count` loopback addresses with one port where no connection is ever accepted.

    Their queues are full, so the system drops packets, like a firewall.
    """
    with contextlib.ExitStack() as stack:
        addresses = [f"127.0.0.{2 + number}" for number in range(count)]
        port = 0
        for address in addresses:
            listener = stack.enter_context(socket.socket())
            listener.bind((address, port))
            listener.listen(0)
            port = listener.getsockname()[1]
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((address, port))
        yield addresses, port
