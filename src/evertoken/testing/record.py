"""What the server was asked, and waiting until it was."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evertoken.testing.headers import Headers


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request. Whatever can hold a secret is not shown by `repr`.

    Attributes:
        method, path: of the request line, the path without its query.
        query: as it came, without the question mark.
        headers: read in any case; `repr` shows their names alone.
        form: the fields of a form-encoded body, blank ones included; empty for any other body.
        body: whole, with a chunked transfer undone.
        at: when it had come whole, in seconds by the server's clock.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Headers
    form: dict[str, list[str]] = field(repr=False)
    body: bytes = field(repr=False)
    at: float


class Record:
    """All requests in their order, each with the name of the endpoint that it came to."""

    def __init__(self) -> None:
        self._grown = threading.Condition()  # guards _entries
        self._entries: list[tuple[str, Recorded]] = []

    def add(self, endpoint: str, request: Recorded) -> None:
        """Append, and wake who waits."""
        with self._grown:
            self._entries.append((endpoint, request))
            self._grown.notify_all()

    def requests(self, endpoint: str | None = None) -> tuple[Recorded, ...]:
        """Those to one endpoint; None: to all."""
        with self._grown:
            return tuple(each for name, each in self._entries if endpoint in {None, name})

    def wait_for(
        self, count: int, *, endpoint: str | None = None, timeout: float
    ) -> tuple[Recorded, ...]:
        """Block until there are `count` of them, at most `timeout` seconds.

        Raises:
            TimeoutError: there are still fewer.
        """
        with self._grown:
            self._grown.wait_for(lambda: len(self.requests(endpoint)) >= count, timeout)
            found = self.requests(endpoint)
        if len(found) < count:
            raise TimeoutError(f"{len(found)} of {count} requests came within {timeout:g} s")
        return found
