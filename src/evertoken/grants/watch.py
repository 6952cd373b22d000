"""A total deadline over one HTTP exchange: socket timeouts only bound the wait for each byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from types import TracebackType

    from requests import PreparedRequest
    from urllib3._base_connection import BaseHTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool


class Watch:
    """Shuts every socket of an exchange down once `seconds` have passed.

    A server that sends its headers or its body drop by drop would otherwise hold a renewal, and
    the lock that it keeps, for as long as it likes.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._lock = threading.Lock()  # guards expired and _sockets
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def adapter(self) -> HTTPAdapter:
        """An adapter without retries, whose connections this deadline holds for."""
        return _WatchedAdapter(self)

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


class _WatchedAdapter(HTTPAdapter):
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,
        verify: bool | str,  # noqa: FBT001  as requests declares it
        proxies: dict[str, str] | None = None,
        cert: str | tuple[str, str] | None = None,
    ) -> HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        pool.ConnectionCls = _watched(pool.ConnectionCls, self._watch)
        return pool


def _watched(kind: type[BaseHTTPConnection], watch: Watch) -> type[BaseHTTPConnection]:
    def connect(self: HTTPConnection) -> socket.socket:
        connection = HTTPConnection._new_conn(self)  # noqa: SLF001  no public step precedes TLS
        watch.add(connection)
        return connection

    return type("Watched", (kind,), {"_new_conn": connect})
