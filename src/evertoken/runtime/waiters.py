"""Threads that wait for news, in steps that an exception from a signal handler cannot break."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Waiters:
    """A condition without a lock around it.

    `threading.Condition`, `Event` and `Future` hold a lock in Python code: an exception that a
    signal handler raises there leaves it locked for ever. Here each step is one call of C code.
    """

    __slots__ = ("_releases",)

    def __init__(self) -> None:
        self._releases: deque[Callable[[], object]] = deque()

    def notify(self) -> None:
        """Have all who wait look again; to be called after the change that they wait for."""
        while self._releases:
            try:
                release = self._releases.popleft()
            except IndexError:
                return  # another thread released the last one
            release()

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Wait for the next `notify`, for so many seconds at most; `ready()` then."""
        mine = threading.Lock()
        mine.acquire()
        self._releases.append(mine.release)
        # only now: a change before the line above notified nobody
        if ready():
            return True
        mine.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        return ready()
