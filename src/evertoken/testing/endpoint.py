"""One endpoint of the server: its script and its recorded requests."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from evertoken.testing.answers import USUAL, Answer, Behaviour, Exchange, Step
from evertoken.testing.faults import Delay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evertoken.testing.record import Record, Recorded


class Endpoint:
    """Answers as usual, unless scripted. Thread-safe.

    Attributes:
        latency: seconds that every answer takes, including scripted ones. The server's work is done
            before that delay.
    """

    def __init__(
        self, name: str, record: Record, usual: Callable[[Recorded], Answer], latency: float = 0.0
    ) -> None:
        self.latency = latency
        self._name = name
        self._record = record
        self._usual = usual
        self._lock = threading.Lock()  # guards all below
        self._next: deque[Behaviour] = deque()
        self._always: Behaviour = USUAL

    def answer_next(self, *behaviours: Behaviour, times: int = 1) -> None:
        """Script the next requests, one behaviour each, and repeat the series `times` times.

        They are used after those scripted before, and before `answer_always`.
        """
        with self._lock:
            self._next.extend(behaviours * times)

    def answer_always(self, behaviour: Behaviour) -> None:
        """Answer every request with `behaviour`, until `recover()`."""
        with self._lock:
            self._always = behaviour

    def recover(self) -> None:
        """Drop the whole script and answer as usual; the latency stays."""
        with self._lock:
            self._next.clear()
            self._always = USUAL

    @property
    def requests(self) -> tuple[Recorded, ...]:
        """The requests that it received, in order."""
        return self._record.requests(self._name)

    def wait_for_requests(self, count: int, *, timeout: float = 10.0) -> tuple[Recorded, ...]:
        """Block until it has received `count` requests in all, at most `timeout` seconds.

        Raises:
            TimeoutError: it has received fewer.
        """
        return self._record.wait_for(count, endpoint=self._name, timeout=timeout)

    def respond(self, request: Recorded) -> Iterator[Step]:
        """Record the request, and return the steps of its scripted or usual behaviour."""
        with self._lock:
            behaviour = self._next.popleft() if self._next else self._always
            self._record.add(self._name, request)
        if self.latency:
            behaviour = Delay(self.latency, behaviour)
        return behaviour.steps(Exchange(request, lambda: self._usual(request)))
