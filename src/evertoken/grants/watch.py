"""A total deadline over one HTTP exchange: socket timeouts only bound the wait for each byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

from evertoken import clock

if TYPE_CHECKING:
    from types import TracebackType


class Watch:
    """Shuts every socket of an exchange down once `seconds` have passed since it was entered.

    A server that sends its headers or its body drop by drop would otherwise hold a renewal, and
    the lock that it keeps, for as long as it likes.

    Attributes:
        expired: whether the deadline has passed.
        sent: whether a byte of the request may have reached the server.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self.sent = False
        self._end = clock.since_boot() + seconds
        self._lock = threading.Lock()  # guards expired and _sockets
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 or less once it has passed."""
        return self._end - clock.since_boot()

    def add(self, connection: socket.socket) -> None:
        """Hold the deadline over `connection` too, as it is or as TLS will wrap it."""
        # a duplicate: wrapping detaches the original from its descriptor
        duplicate = connection.dup()
        with self._lock:
            self._sockets.append(duplicate)
            if self.expired:
                _shut_down(duplicate)

    def __enter__(self) -> Self:
        # at interpreter exit no thread can be started; the timeout for each byte must do
        with contextlib.suppress(RuntimeError):
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            for connection in self._sockets:
                _shut_down(connection)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
