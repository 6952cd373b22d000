"""The link between a machine and Valkey: bytes pass, or nothing does."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

CHUNK = 65_536


class Link:
    """A forwarder on loopback.

    Cut, it accepts connections and bytes and forwards nothing, as a network that drops packets.
    Restored, it closes what was open meanwhile.

    Args:
        port: of the server on loopback.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()  # guards _sockets
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        # wakes the thread that accepts
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._close_all()

    def cut(self) -> None:
        """Let nothing pass."""
        self._open.clear()

    def restore(self) -> None:
        """Let all pass again, on new connections."""
        self._close_all()
        self._open.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            self._keep(near)
            if not self._open.is_set():
                # holds what a client sends until the link is restored
                with contextlib.suppress(OSError):
                    while near.recv(CHUNK):
                        pass
                self._drop(near)
                return
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._target)) as far,
            ):
                self._keep(far)
                back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
                back.start()
                self._pump(near, far)
                back.join()
                self._drop(far)
            self._drop(near)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self._open.is_set():
                    target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _keep(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.add(one)

    def _drop(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(one)

    def _close_all(self) -> None:
        with self._lock:
            known = list(self._sockets)
        for each in known:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
