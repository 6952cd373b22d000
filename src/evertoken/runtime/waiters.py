"""Waits for a change in another thread, which an exception of a signal handler cannot break."""

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

        Check the condition afterwards: a change before this call notified nobody.
        """
        self._releases.append(release)

    def remove(self, release: Callable[[], object]) -> None:
        """Do not call `release`, if it has not been called yet."""
        # IndexError: another thread changed the deque meanwhile; a superfluous call is harmless
        with contextlib.suppress(ValueError, IndexError):
            self._releases.remove(release)

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Block this thread until the next `notify`, at most `seconds`; then return `ready()`."""
        mine = threading.Lock()
        mine.acquire()
        self.add(mine.release)
        # checked only now: a change before the line above notified nobody
        if not ready():
            mine.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        # a renewal that hangs would otherwise collect the lock of every wait that timed out
        self.remove(mine.release)
        return ready()


class Wait(NamedTuple):
    """A wait that a flow yields.

    Attributes:
        waiters: notified at each change.
        ready: whether the wait is over.
        seconds: the timeout of the wait.
    """

    waiters: Waiters
    ready: Callable[[], bool]
    seconds: float

    def block(self) -> None:
        """Wait in this thread."""
        self.waiters.wait(self.ready, self.seconds)


Flow = Generator[Wait, None, T]
"""Steps that may wait: written once, run by a thread (`run`) or a task (`tasks.run`)."""


def run(flow: Flow[T]) -> T:
    """Run `flow` in this thread, and return or raise its outcome."""
    while True:
        try:
            wait = next(flow)
        except StopIteration as end:
            result: T = end.value
            return result
        wait.block()
