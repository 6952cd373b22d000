"""One endpoint of the server: what is scripted for it, and what it was asked."""

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
    """Answers as usual, unless scripted; may be changed at any time from any thread.

    Attributes:
        latency: seconds that every answer takes, scripted ones too. The work is done on arrival.
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
        """Script the next requests, one behaviour each, the whole series `times` times.

        They come after those that are scripted already, and before `answer_always`.
        """
        with self._lock:
            self._next.extend(behaviours * times)

    def answer_always(self, behaviour: Behaviour) -> None:
        """Script every request until further notice."""
        with self._lock:
            self._always = behaviour

    def recover(self) -> None:
        """Drop the whole script and answer as usual; the latency stays."""
        with self._lock:
            self._next.clear()
            self._always = USUAL

    @property
    def requests(self) -> tuple[Recorded, ...]:
        """What it was asked, in order."""
        return self._record.requests(self._name)

    def wait_for_requests(self, count: int, *, timeout: float = 10.0) -> tuple[Recorded, ...]:
        """Block until it was asked `count` times in all, at most `timeout` seconds.

        Raises:
            TimeoutError: it was asked less often.
        """
        return self._record.wait_for(count, endpoint=self._name, timeout=timeout)

    def respond(self, request: Recorded) -> Iterator[Step]:
        """Record the request and take its behaviour from the script."""
        with self._lock:
            behaviour = self._next.popleft() if self._next else self._always
            self._record.add(self._name, request)
        if self.latency:
            behaviour = Delay(self.latency, behaviour)
        return behaviour.steps(Exchange(request, lambda: self._usual(request)))
