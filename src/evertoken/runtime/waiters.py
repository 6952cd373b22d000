"""How callers wait for a change in another thread; no signal handler can break it."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Waiters:
    """A condition variable without a lock around it.

    `threading.Condition`, `Event` and `Future` hold a lock in Python code: an exception raised
    there by a signal handler leaves it locked forever. Here each step is a single call in C.
    """

    __slots__ = ("_releases",)

    def __init__(self) -> None:
        self._releases: deque[Callable[[], object]] = deque()

    def notify(self) -> None:
        """Wake all waiting threads. Call it after the change that they wait for."""
        while self._releases:
            try:
                release = self._releases.popleft()
            except IndexError:
                return  # another thread released the last one
            release()

    def add(self, release: Callable[[], object]) -> None:
        """Call `release` once, at the next `notify` and in its thread.

        Look at the condition afterwards: a change before this call notified nobody.
        """
        self._releases.append(release)

    def remove(self, release: Callable[[], object]) -> None:
        """Do not call `release`, if it has not been called yet."""
        # IndexError: another thread changed the deque meanwhile; a call too many is harmless
        with contextlib.suppress(ValueError, IndexError):
            self._releases.remove(release)

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Block this thread until the next `notify`, at most `seconds`; then return `ready()`."""
        mine = threading.Lock()
        mine.acquire()
        self.add(mine.release)
        # checked only now: a change before the line above notified nobody
        if ready():
            return True
        mine.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        return ready()


class Wait(NamedTuple):
    """What a flow yields in order to wait.

    Attributes:
        waiters: notified at each change.
        ready: whether the wait is over.
        seconds: after which it is over in any case.
    """

    waiters: Waiters
    ready: Callable[[], bool]
    seconds: float

    def block(self) -> None:
        """Wait in this thread."""
        self.waiters.wait(self.ready, self.seconds)


Flow = Generator[Wait, None, T]
"""Steps that may wait: written once, run by a thread (`run`) or by a task (`tasks.run`)."""


def run(flow: Flow[T]) -> T:
    """What `flow` returns or raises. This thread blocks where it waits."""
    while True:
        try:
            wait = next(flow)
        except StopIteration as end:
            result: T = end.value
            return result
        wait.block()
