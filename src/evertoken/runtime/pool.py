"""A bounded pool of daemon threads, which all managers of a process share."""

from __future__ import annotations

import collections
import math
import queue
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from evertoken.runtime import clock, process, threads, waiters
from evertoken.runtime.waiters import Wait, Waiters

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.runtime.waiters import Flow

T = TypeVar("T")

SIZE = 64
"""Threads at most. They end after `IDLE` seconds without work."""

SHARE = SIZE // 4
"""How many of them may work for one place at a time, so that one that hangs leaves others room."""

IDLE = 10.0
"""Seconds."""


class Task(Generic[T]):
    """A call that one thread makes: one of the pool or, where none can run, one that waits for it.

    Args:
        call: what to do.
        place: the server or folder that it may hang with.

    Attributes:
        submitted: whether the pool has it; a signal handler's exception may have come first.
        refused: whether no thread of the pool will make the call.
        waiters: told when the call has ended, or was refused.
    """

    __slots__ = ("_outcome", "_unclaimed", "place", "refused", "submitted", "waiters")

    def __init__(self, call: Callable[[], T], place: str) -> None:
        self.place = place
        self.submitted = self.refused = False
        self.waiters = Waiters()
        self._outcome: tuple[T | None, BaseException | None] | None = None
        # taken out by the thread that makes the call, in one step
        self._unclaimed = [call]

    @property
    def claimed(self) -> bool:
        """Whether a thread has begun."""
        return not self._unclaimed

    @property
    def done(self) -> bool:
        """Whether the call has ended."""
        return self._outcome is not None

    def run(self) -> bool:
        """Make the call, unless another thread has begun to; whether it was made here."""
        try:
            call = self._unclaimed.pop()
        except IndexError:
            return False
        try:
            self._outcome = (call(), None)
        except BaseException as error:  # noqa: BLE001  it belongs to the thread that waits
            self._outcome = (None, error)
        self.waiters.notify()
        return True

    def refuse(self) -> None:
        """Have a waiting thread make the call."""
        self.refused = True
        self.waiters.notify()

    def waiting(self, seconds: float) -> Flow[bool]:
        """Wait until the call has ended; make it here if it is refused. Whether it has ended."""
        end = clock.since_boot() + seconds
        while not self.done and (left := end - clock.since_boot()) > 0:
            if not (self.refused and self.run()):
                yield Wait(self.waiters, self._may_go_on, left)
        return self.done

    def _may_go_on(self) -> bool:
        return self.done or (self.refused and not self.claimed)

    def result(self) -> T:
        """What the call returned; what it raised is raised. Waits for its end."""
        waiters.run(self.waiting(math.inf))
        value, error = cast("tuple[T, BaseException | None]", self._outcome)
        if error is not None:
            raise error
        return value


class Pool:
    """Makes calls in up to `SIZE` threads.

    An exception that a signal handler raises inside `submit` does no lasting harm: each step is one
    call in C, and a task that was not queued can be submitted again.
    """

    def __init__(self) -> None:
        self._submitted: deque[Task[object]] = deque()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        # the lock of the process guards all below; only threads of the pool change them
        self._waiting: dict[str, deque[Task[object]]] = {}
        self._running: collections.Counter[str] = collections.Counter()
        self._tasks: set[Task[object]] = set()
        self._workers = self._idle = 0
        self._ended = Waiters()

    def submit(self, task: Task[T]) -> None:
        """Have the pool make the call, in the order of submission for each place."""
        if threads.can_run():
            self._queue(cast("Task[object]", task))
        else:
            task.refuse()
        # last, since a task that was not wholly handed over is submitted again
        task.submitted = True

    def _queue(self, task: Task[object]) -> None:
        self._submitted.append(task)
        self._wakes.put(None)
        if self._idle < len(self._submitted) and self._workers < SIZE:
            threads.start(self._work, "evertoken-worker", otherwise=self._give_up)

    def finish(self, seconds: float) -> None:
        """Wait until no call runs or is queued, for this many seconds at most."""
        end = clock.since_boot() + seconds
        while not self._finished() and (left := end - clock.since_boot()) > 0:
            self._ended.wait(self._finished, left)

    def _finished(self) -> bool:
        return not (self._tasks or self._waiting or self._submitted)

    def _work(self) -> None:
        with process.lock():
            if self._workers >= SIZE:
                return
            self._workers += 1
        while self._rest():
            while (task := self._next()) is not None:
                try:
                    task.run()
                finally:
                    self._end(task)

    def _rest(self) -> bool:
        """Wait for work; False: there was none, and this thread counts no more."""
        with process.lock():
            self._idle += 1
        try:
            self._wakes.get(timeout=IDLE)
        except queue.Empty:
            pass
        else:
            with process.lock():
                self._idle -= 1
            return True
        with process.lock():
            # first the count: what is submitted from now on starts a thread
            self._idle -= 1
            self._sort_in()
            if self._next_place() is not None:
                return True
            self._workers -= 1
        return False

    def _next(self) -> Task[object] | None:
        """The next task of a place that does not use up its share."""
        with process.lock():
            self._sort_in()
            place = self._next_place()
            if place is None:
                return None
            tasks = self._waiting.pop(place)
            task = tasks.popleft()
            if tasks:
                # to the end: each place has its turn
                self._waiting[place] = tasks
            self._running[place] += 1
            self._tasks.add(task)
            return task

    def _next_place(self) -> str | None:
        return next((each for each in self._waiting if self._running[each] < SHARE), None)

    def _sort_in(self) -> None:
        while self._submitted:
            task = self._submitted.popleft()
            if not task.claimed:
                self._waiting.setdefault(task.place, deque()).append(task)

    def _end(self, task: Task[object]) -> None:
        with process.lock():
            self._tasks.discard(task)
            self._running[task.place] -= 1
            if not self._running[task.place]:
                del self._running[task.place]
        self._ended.notify()

    def _give_up(self) -> None:
        """No thread could be started: if there is none at all, those who wait do it themselves."""
        with process.lock():
            if self._workers:
                return
            self._sort_in()
            refused = [task for tasks in self._waiting.values() for task in tasks]
            self._waiting.clear()
        for task in refused:
            task.refuse()


_pool = process.PerProcess(Pool)


def submit(task: Task[T]) -> None:
    """Have the process's pool make the call of `task`."""
    _pool().submit(task)


def do_soon(call: Callable[[], object], place: str) -> None:
    """Have the pool make the call; where no thread can, make it here."""
    task = Task(call, place)
    submit(task)
    if task.refused:
        task.run()


def run(call: Callable[[], T], place: str) -> T:
    """What `call` returns or raises, made in the pool.

    An exception that a signal handler raises meanwhile reaches the caller; the call goes on.
    """
    task = Task(call, place)
    submit(task)
    return task.result()


def finish(seconds: float) -> None:
    """Wait until the process's pool has no call left, for this many seconds at most."""
    _pool().finish(seconds)
