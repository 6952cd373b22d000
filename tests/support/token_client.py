"""A client of `evertoken.testing.TokenServer`, for its endpoints and its raw sockets."""

from __future__ import annotations

import select
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.testing import TokenServer

LONG = 60.0  # seconds; no test may really wait this long
PROMPT = 5.0  # seconds within which something that does not wait is certainly done


def form_of(server: TokenServer, **changes: str | None) -> dict[str, str]:
    """The form of a valid password grant, with fields replaced, added, or left out if None."""
    fields = {
        "grant_type": "password",
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "username": server.username,
        "password": server.password,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def ask(server: TokenServer, **changes: str | None) -> requests.Response:
    return requests.post(
        server.token_url, data=form_of(server, **changes), timeout=LONG, allow_redirects=False
    )


def granted(server: TokenServer) -> dict[str, str]:
    response = ask(server)
    assert response.status_code == 200
    tokens: dict[str, str] = response.json()
    return tokens


def refresh(server: TokenServer, refresh_token: str | None) -> requests.Response:
    return ask(
        server,
        grant_type="refresh_token",
        refresh_token=refresh_token,
        username=None,
        password=None,
    )


def revoke(server: TokenServer, **changes: str | None) -> requests.Response:
    fields = form_of(server, grant_type=None, username=None, password=None, **changes)
    return requests.post(server.revoke_url, data=fields, timeout=LONG)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def use(server: TokenServer, token: str) -> int:
    return requests.get(server.api_url, headers=bearer(token), timeout=LONG).status_code


@contextmanager
def connected(server: TokenServer) -> Iterator[socket.socket]:
    url = urlsplit(server.base_url)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=LONG) as client:
        yield client


def grant_bytes(server: TokenServer) -> bytes:
    body = urlencode(form_of(server)).encode()
    return (
        b"POST /oauth/token/ HTTP/1.1\r\nHost: it\r\nConnection: close\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def on_wire(server: TokenServer) -> bytes:
    """Request a token, and return all bytes until the connection ends."""
    with connected(server) as client:
        client.sendall(grant_bytes(server))
        return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def read_exactly(client: socket.socket, size: int) -> bytes:
    with client.makefile("rb", buffering=0) as stream:
        return b"".join(stream.read(1) or b"" for _ in range(size))


def is_silent(client: socket.socket) -> bool:
    return not select.select([client], [], [], 0.05)[0]


def address_of(server: TokenServer) -> tuple[str, int]:
    url = urlsplit(server.base_url)
    return url.hostname or "", url.port or 0
