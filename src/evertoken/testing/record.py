"""The requests that the server has received, and waiting for them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evertoken.testing.headers import Headers


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request. `repr` does not show parts that may hold a secret.

    Attributes:
        method, path: from the request line; the path is without its query.
        query: the raw query, without the question mark.
        headers: case-insensitive; `repr` shows only their names.
        form: the fields of a form-encoded body, including blank ones; empty for any other body.
        body: the whole body, with the chunked encoding removed.
        at: when it was complete, in seconds on the server's clock.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Headers
    form: dict[str, list[str]] = field(repr=False)
    body: bytes = field(repr=False)
    at: float


class Record:
    """All requests in order, each with the name of its endpoint."""

    def __init__(self) -> None:
        self._grown = threading.Condition()  # guards _entries
        self._entries: list[tuple[str, Recorded]] = []

    def add(self, endpoint: str, request: Recorded) -> None:
        """Append a request, and wake waiting threads."""
        with self._grown:
            self._entries.append((endpoint, request))
            self._grown.notify_all()

    def requests(self, endpoint: str | None = None) -> tuple[Recorded, ...]:
        """The requests to one endpoint; None: to all."""
        with self._grown:
            return tuple(each for name, each in self._entries if endpoint in {None, name})

    def wait_for(
        self, count: int, *, endpoint: str | None = None, timeout: float
    ) -> tuple[Recorded, ...]:
        """Block until there are `count` requests, at most `timeout` seconds.

        Raises:
            TimeoutError: there are fewer.
        """
        with self._grown:
            self._grown.wait_for(lambda: len(self.requests(endpoint)) >= count, timeout)
            found = self.requests(endpoint)
        if len(found) < count:
            raise TimeoutError(f"{len(found)} of {count} requests came within {timeout:g} s")
        return found
