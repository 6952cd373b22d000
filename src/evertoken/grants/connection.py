"""The connection of one exchange: held to a deadline, and to a head of bounded size."""

from __future__ import annotations

import http.client
import io
import socket
from typing import TYPE_CHECKING, Any, cast

import urllib3.connection
from urllib3.util.connection import allowed_gai_family, create_connection

if TYPE_CHECKING:
    from io import BufferedReader

    from _typeshed import WriteableBuffer
    from urllib3._base_connection import BaseHTTPConnection

    from evertoken.grants.watch import Watch

    _Connection = urllib3.connection.HTTPConnection
else:
    # Mixed into the pool's own class at each exchange, and no class of urllib3's: what stands under
    # that name now may be the stand-in of a test's recorder, and would stay for the process's life.
    _Connection = object

MAX_HEAD = 1 << 16
"""Bytes of status line and headers, interim answers (1xx) included, beyond which none is read."""


def watched(kind: type[BaseHTTPConnection], watch: Watch) -> type[BaseHTTPConnection]:
    """`kind`, held to the deadline of `watch`."""
    # A SOCKS connection finds its way by itself, and may leave the look-up to the proxy. In a
    # urllib3 with another name for it, the wait for an address is not cut to what is left.
    kinds = (urllib3.connection.HTTPConnection, kind)
    plain, own = (getattr(each, "_new_conn", None) for each in kinds)
    response = type("WatchedResponse", (_Response,), {"watch": watch})
    base = _Direct if own is plain else _Watched
    return type("Watched", (base, kind), {"watch": watch, "response_class": response})


class _Head:
    """The lines of a head, up to `MAX_HEAD` bytes: by itself `http.client` takes 100 of 64 KiB."""

    def __init__(self, lines: BufferedReader) -> None:
        self._lines = lines
        self._left = MAX_HEAD

    def readline(self, limit: int) -> bytes:
        line = self._lines.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("head")
        return line

    # what `http.client` calls when it gives up

    def flush(self) -> None:
        """Nothing: it only reads."""

    def close(self) -> None:
        self._lines.close()


class _Reads(io.RawIOBase):
    """The bytes of a socket, none of them waited for beyond the deadline."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, watch: Watch) -> None:
        self._raw = raw
        self._connection = connection
        self._each = connection.gettimeout()
        self._watch = watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._connection.settimeout(self._watch.bound(self._each))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    watch: Watch

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        # a mock of sockets may have something else
        if isinstance(self.fp, io.BufferedReader):
            self.fp = io.BufferedReader(_Reads(self.fp.detach(), sock, self.watch))

    def begin(self) -> None:
        whole = self.fp
        self.fp = cast("BufferedReader", _Head(whole))
        super().begin()
        self.fp = whole


class _Watched(_Connection):
    watch: Watch
    _ready = False

    def connect(self) -> None:
        super().connect()
        self._ready = True

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self.watch.bound(self.sock.gettimeout()))
        # not what goes to a proxy to open a tunnel, which is sent while the connection is made
        self.watch.sent |= self._ready
        super().send(data)

    def _new_conn(self) -> socket.socket:
        connection = self._connected()
        # for the handshake of TLS
        connection.settimeout(self.watch.bound(connection.gettimeout()))
        return connection

    def _connected(self) -> socket.socket:
        return super()._new_conn()


class _Direct(_Watched):
    def _connected(self) -> socket.socket:
        """The first address that answers.

        By itself `urllib3` gives each address the whole timeout: behind a firewall that drops
        packets, a host with many of them would take many times as long.
        """
        # with its last dot, where it has one
        host = getattr(self, "_dns_host", self.host)
        port, each = self.port, cast("float", self.timeout)
        last: OSError = TimeoutError()
        found = socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)
        for address in dict.fromkeys(str(it[4][0]) for it in found):
            if (left := self.watch.left) <= 0:
                break
            try:
                return create_connection(
                    (address, port),
                    min(each, left),
                    source_address=self.source_address,
                    socket_options=self.socket_options,
                )
            except OSError as error:
                last = error
        try:
            raise last
        finally:
            # its traceback holds this frame, and through it those that hold the password
            del last
