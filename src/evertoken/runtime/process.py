"""The process that runs this: noticed by its id, since C programs fork without Python's hooks."""

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
    """Holds locks or threads that do not survive a fork."""

    def renew_in_child(self) -> None:
        """Replace them: the thread that held or was one exists in the parent only."""


class Process:
    """One process, as long as it lives.

    Attributes:
        lock: guards what several threads change in memory. Reentrant, since a signal handler or a
            destructor may come in while its own thread holds it. No I/O, no call of a user's and
            no log record is made under it.
        jitter_fraction: in [0, 1): processes that started together renew apart.
    """

    __slots__ = ("jitter_fraction", "lock", "renewed")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # a child inherits the parent's generator, and would draw what its siblings draw
        self.jitter_fraction = random.SystemRandom().random()
        self.renewed = False


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_processes: dict[int, Process] = {}


def current() -> Process:
    """The process that runs this.

    The first call in a forked child renews all that was registered, before any lock that the
    child inherited is touched.
    """
    found = _processes.get(os.getpid())
    return found if found is not None and found.renewed else _entered()


class PerProcess(Generic[T]):
    """A value of which each process has its own, made when it first uses it.

    Not earlier: gevent may replace the locks and queues of the standard library after a fork.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[Process, T] | None = None

    def __call__(self) -> T:
        """This process's own."""
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
    """This process's own number in [0, 1)."""
    return current().jitter_fraction


def register(forkable: Forkable) -> None:
    """Have `forkable` renewed in each forked child, for as long as it lives."""
    current()
    _forkables.add(forkable)


def _entered() -> Process:
    pid = os.getpid()
    # one step, without a lock: several threads of a child may come at once
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
    # earlier than the first call, and certain: a process id may be used again
    os.register_at_fork(after_in_child=_forked)
