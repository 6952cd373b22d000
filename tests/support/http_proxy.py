"""A small forward proxy on loopback that routes any host name to a port chosen by the test."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHUNK = 1 << 16


class Proxy(ThreadingHTTPServer):
    """Tunnels CONNECT, and forwards `http://` requests, by its table of routes.

    Attributes:
        routes: maps `"host:port"` to a loopback port.
        status: its answer if not 200; 407 requires a login.
        asked: `"METHOD target"` of each request, in order.
        logins: the `Proxy-Authorization` of each, or None.
    """

    daemon_threads = True

    def __init__(self, routes: Mapping[str, int] | None = None, *, status: int = 200) -> None:
        self.routes = dict(routes or {})
        self.status = status
        self.asked: list[str] = []
        self.logins: list[str | None] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        """Bind without a lookup of the host name, which may use DNS."""
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def everything(self) -> dict[str, str]:
        """For `proxies=` of requests: this proxy for every scheme."""
        return {"http": self.url, "https": self.url}

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error: clients disconnect in these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_CONNECT(self) -> None:
        if self._is_refused():
            return
        upstream = socket.create_connection(("127.0.0.1", self.server.routes[self.path]), 10)
        self.send_response(200)
        self.end_headers()
        with upstream:
            _pipe(self.connection, upstream)
        self.close_connection = True

    def do_GET(self) -> None:
        if self._is_refused():
            return
        url = urlsplit(self.path)
        upstream = http.client.HTTPConnection("127.0.0.1", self._port(url.netloc), timeout=10)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        target = url._replace(scheme="", netloc="").geturl()
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        upstream.request(self.command, target, body, {"Host": url.netloc, **headers})
        self._pass_back(upstream.getresponse())
        upstream.close()

    do_POST = do_GET  # noqa: N815  named by the method

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Log nothing: a request line may contain a secret."""

    def _is_refused(self) -> bool:
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.logins.append(self.headers.get("Proxy-Authorization"))
        if self.server.status == 200:
            return False
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True
        return True

    def _port(self, netloc: str) -> int:
        return self.server.routes[netloc if ":" in netloc else f"{netloc}:80"]

    def _pass_back(self, answer: http.client.HTTPResponse) -> None:
        body = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _pipe(left: socket.socket, right: socket.socket) -> None:
    """Pass bytes both ways until one side ends."""
    other = {left: right, right: left}
    with suppress(OSError):
        while True:
            ready, _, _ = select.select(list(other), (), ())
            for side in ready:
                data = side.recv(_CHUNK)
                if not data:
                    return
                other[side].sendall(data)
