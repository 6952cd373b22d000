"""The current process. Detects a fork by its id: C programs fork without Python's hooks."""

from __future__ import annotations

import os
import random
import threading
import weakref
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Forkable(Protocol):
    """An object with locks or threads, which do not survive a fork."""

    def renew_in_child(self) -> None:
        """Replace them: the threads that held the locks exist only in the parent."""


class Process:
    """The state of one process.

    Attributes:
        lock: guards state in memory that several threads change. Reentrant, since a signal handler
            or a destructor may run while its own thread holds it. Never held during I/O, a user's
            callback or a log record.
        jitter_fraction: a random number in [0, 1), so that processes that started together do not
            renew together.
    """

    __slots__ = ("jitter_fraction", "lock", "renewed")

    def __init__(self) -> None:
        self.lock: threading.RLock = threading.RLock()
        # not the default generator: forked siblings inherit its state and would draw the same
        # number
        self.jitter_fraction: float = random.SystemRandom().random()
        self.renewed: bool = False


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_processes: dict[int, Process] = {}


def current() -> Process:
    """The current process.

    The first call in a forked child calls `renew_in_child` of all registered objects, before any
    inherited lock is touched.
    """
    found = _processes.get(os.getpid())
    return found if found is not None and found.renewed else _entered()


class PerProcess(Generic[T]):
    """A value that each process makes for itself when it first uses it.

    Not at import: gevent may replace the locks and queues of the standard library after a fork.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[Process, T] | None = None

    def __call__(self) -> T:
        """The value of this process."""
        here, made = current(), self._made
        if made is None or made[0] is not here:
            with here.lock:
                made = self._made
                if made is None or made[0] is not here:
                    made = self._made = here, self._make()
        return made[1]


def lock() -> threading.RLock:
    """The lock of this process; see `Process`."""
    return current().lock


def jitter_fraction() -> float:
    """The random number of this process, in [0, 1)."""
    return current().jitter_fraction


def register(forkable: Forkable) -> None:
    """Call `forkable.renew_in_child` in each forked child. Holds `forkable` weakly."""
    current()
    _forkables.add(forkable)


def _entered() -> Process:
    pid = os.getpid()
    # atomic, without a lock: several threads of a child may get here at once
    entered = _processes.setdefault(pid, Process())
    with entered.lock:
        if not entered.renewed:
            for forkable in tuple(_forkables):
                forkable.renew_in_child()
            for other in [each for each in _processes if each != pid]:
                del _processes[other]
            entered.renewed = True
    return entered


def _forked() -> None:
    _processes.clear()
    current()


if hasattr(os, "register_at_fork"):
    # Earlier than the first call, and reliable even if a process id is reused.
    os.register_at_fork(after_in_child=_forked)
