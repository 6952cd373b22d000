"""The token server of the benchmarks: a process of its own that counts what it is asked.

`python -m benchmarks.endpoint` listens on loopback and prints its port. It is no OAuth server, only
fast: what a request gets is written in its path, `/<run>/<expires_in>/<delay in ms>/<0 or 1: with
a refresh token>/token/`, and `/ledger/<run>` tells what was asked. `/api/<ms>/` answers everyone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping

RIGHT = "right"
"""The password, and the client secret, that are not refused."""

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


@dataclass(slots=True)
class Book:
    """What one run has asked; times in seconds on the monotonic clock, which processes share."""

    requests: int = 0
    down: bool = False
    grants: list[tuple[str, float, float]] = field(default_factory=list)
    refresh_tokens: set[str] = field(default_factory=set)

    def shown(self) -> dict[str, object]:
        """For `/ledger/`: a grant is its token, when it was issued, when that dies."""
        return {"requests": self.requests, "grants": self.grants}


BOOKS: defaultdict[str, Book] = defaultdict(Book)


async def answer(path: str, form: Mapping[str, str]) -> tuple[int, object]:
    """Status and JSON for one request."""
    match path.strip("/").split("/"):
        case ["api", milliseconds]:
            if int(milliseconds):
                await asyncio.sleep(int(milliseconds) / 1000)
            return 200, {}
        case ["ledger", run]:
            return 200, BOOKS[run].shown()
        case ["down" | "up" as state, run]:
            BOOKS[run].down = state == "down"
            return 200, {}
        case [run, expires_in, delay, refresh, "token"]:
            book = BOOKS[run]
            book.requests += 1
            if int(delay):
                await asyncio.sleep(int(delay) / 1000)
            return grant(book, int(expires_in), form, refresh=refresh == "1")
    return 404, {}


def grant(
    book: Book, expires_in: int, form: Mapping[str, str], *, refresh: bool
) -> tuple[int, object]:
    """A token, or why there is none (RFC 6749 section 5)."""
    if book.down:
        return 503, {}
    kind = form.get("grant_type")
    if kind == "password":
        right = form.get("password") == RIGHT
    elif kind == "refresh_token":
        right = form.get("refresh_token") in book.refresh_tokens
    else:
        right = form.get("client_secret") == RIGHT
    if not right:
        return 400, {"error": "invalid_grant"}
    now = time.monotonic()
    value = secrets.token_urlsafe(24)
    book.grants.append((value, now, now + expires_in))
    body: dict[str, object] = {
        "access_token": value,
        "token_type": "Bearer",
        "expires_in": expires_in,
    }
    if refresh:
        body["refresh_token"] = secrets.token_urlsafe(24)
        book.refresh_tokens.add(str(body["refresh_token"]))
    return 200, body


def parsed(body: bytes) -> dict[str, str]:
    """The form; the last of each name."""
    return {name: values[-1] for name, values in parse_qs(body.decode()).items()}


def by_basic(authorization: str) -> dict[str, str]:
    """The client's secret in HTTP Basic."""
    scheme, _, pair = authorization.partition(" ")
    if scheme != "Basic":
        return {}
    return {"client_secret": base64.b64decode(pair).decode().partition(":")[2]}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, kept alive."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.split("\r\n")
            headers = {name.lower(): text for name, _, text in (f.partition(": ") for f in fields)}
            form = parsed(await reader.readexactly(int(headers.get("content-length", "0"))))
            form |= by_basic(headers.get("authorization", ""))
            status, shown = await answer(unquote_plus(line.split(" ")[1]), form)
            body = json.dumps(shown).encode()
            first = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json"
            writer.write(f"{first}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
