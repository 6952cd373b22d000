"""HTTP/1.1 on a loopback socket: reads requests and performs the steps of the answers."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qs, urlsplit

from evertoken.testing.answers import Body, HangUp, Head, Hold, Pause, Step
from evertoken.testing.gate import ClosedError, Gate
from evertoken.testing.headers import Headers
from evertoken.testing.record import Recorded

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from email.message import Message
    from io import BufferedIOBase

_Request: TypeAlias = "socket.socket | tuple[bytes, socket.socket]"
Respond: TypeAlias = "Callable[[Recorded], Iterable[Step]]"

_CLOSING_TIMEOUT = 5.0  # seconds for a released thread to end, which normally takes none
_LINGER_RESET = struct.pack("ii", 1, 0)  # linger for 0 s: close() then sends RST instead of FIN


class Wire(ThreadingHTTPServer):
    """A listening socket with a thread for each connection, which closes without waiting."""

    daemon_threads = True
    request_queue_size = 1024  # with the default of 5, clients of a burst lose SYNs and wait 1 s

    def __init__(
        self,
        port: int,
        respond: Respond,
        clock: Callable[[], float],
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.respond = respond
        self.clock = clock
        self.gate: Gate = Gate()
        self._ssl_context = ssl_context
        self._lock = threading.Lock()  # guards all below
        self._closing = False
        self._open: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", port), _Handler)
        self._acceptor = threading.Thread(target=self._accept, name="evertoken-test", daemon=True)
        self._acceptor.start()

    def server_bind(self) -> None:
        """Bind without `HTTPServer`'s lookup of the host name, which may use DNS."""
        TCPServer.server_bind(self)
        self.server_name: str
        self.server_port: int
        self.server_name, self.server_port = self.socket.getsockname()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection. Its TLS handshake happens later, in its own thread."""
        connection, address = super().get_request()
        if self._ssl_context is not None:
            connection = self._ssl_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: _Request, client_address: object) -> None:
        """Ignore a client that disconnected; print any other error on stderr."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def opened(self, connection: socket.socket) -> None:
        """Record that the calling thread serves this connection.

        Raises:
            ClosedError: the server is closing.
        """
        with self._lock:
            if self._closing:
                raise ClosedError
            self._open[threading.current_thread()] = connection

    def ended(self) -> None:
        """Record that the calling thread has ended."""
        with self._lock:
            self._open.pop(threading.current_thread(), None)

    def close(self) -> None:
        """Stop listening, release every held answer, and end every connection."""
        with self._lock:
            self._closing = True
            still_open = dict(self._open)
        self._wake_acceptor()
        self._acceptor.join(_CLOSING_TIMEOUT)
        self.gate.close()
        for thread, connection in still_open.items():
            with suppress(OSError):  # gone already
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_CLOSING_TIMEOUT)
        self.server_close()

    def _accept(self) -> None:
        while not self._closing:
            self.handle_request()

    def _wake_acceptor(self) -> None:
        """Wake the accepting thread. On Linux the shutdown suffices, and ends forked copies too."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.server_port), timeout=1.0).close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise the body waits 40 ms for the delayed ACK of the head
    server: Wire
    reset = False

    def setup(self) -> None:
        self.server.opened(self.request)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.reset:
            self.connection.close()  # otherwise the server would send FIN first
        self.server.ended()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self._answer()

    def _answer(self) -> None:
        try:
            request = self._recorded()
        except ValueError:  # an invalid URL or Content-Length
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        # before the script is read: a release in between is meant for this request, too
        releases = self.server.gate.releases
        for step in self.server.respond(request):
            if isinstance(step, HangUp):
                self._hang_up(reset=step.reset)
                break
            self._perform(step, releases)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Log nothing: a request line may contain a secret."""

    def _recorded(self) -> Recorded:
        body = _read_body(self.rfile, self.headers)
        url = urlsplit(self.path)
        is_form = self.headers.get_content_type() == "application/x-www-form-urlencoded"
        text = body.decode(errors="replace") if is_form else ""
        return Recorded(
            method=self.command,
            path=url.path,
            query=url.query,
            headers=Headers(self.headers.items()),
            form=parse_qs(text, keep_blank_values=True),
            body=body,
            at=self.server.clock(),
        )

    def _perform(self, step: Head | Body | Pause | Hold, releases: int) -> None:
        if isinstance(step, Pause):
            self.server.gate.pause(step.seconds)
        elif isinstance(step, Hold):
            self.server.gate.hold(releases)
        elif isinstance(step, Head) or self.command != "HEAD":
            self.wfile.write(step.data)

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        self.reset = reset
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)


def _read_body(stream: BufferedIOBase, headers: Message) -> bytes:
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return b"".join(iter(lambda: _read_chunk(stream), b""))
    return _read_whole(stream, int(headers.get("Content-Length", "0")))


def _read_chunk(stream: BufferedIOBase) -> bytes:
    """The next chunk; empty at the end, after the trailer has been read."""
    size = int(stream.readline().partition(b";")[0], 16)
    chunk = _read_whole(stream, size)
    while stream.readline().strip():
        pass
    return chunk


def _read_whole(stream: BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionAbortedError("the client disconnected before the end of its body")
    return data
