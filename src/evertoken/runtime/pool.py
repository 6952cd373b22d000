"""A bounded pool of daemon threads, shared by all managers of a process."""

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
"""The maximum number of threads. They end after `IDLE` seconds without work."""

SHARE = SIZE // 4
"""How many of them may work for one resource, so that one that hangs does not block the others."""

IDLE = 10.0
"""Seconds."""


class Task(Generic[T]):
    """A call made once, by a thread of the pool or, if none can run, by a thread that waits for it.

    Args:
        call: the function to call.
        resource: the server or folder that the call may hang on.

    Attributes:
        submitted: whether the pool has it; a signal handler's exception may have prevented that.
        refused: whether the pool will not make the call, because no thread can run.
        waiters: notified when the call has ended or was refused.
    """

    __slots__ = ("_outcome", "_unclaimed", "refused", "resource", "submitted", "waiters")

    def __init__(self, call: Callable[[], T], resource: str) -> None:
        self.resource: str = resource
        self.submitted: bool = False
        self.refused: bool = False
        self.waiters: Waiters = Waiters()
        self._outcome: tuple[T | None, BaseException | None] | None = None
        # popped, which is atomic, by the thread that makes the call
        self._unclaimed = [call]

    @property
    def claimed(self) -> bool:
        """Whether a thread has begun the call."""
        return not self._unclaimed

    @property
    def done(self) -> bool:
        """Whether the call has ended."""
        return self._outcome is not None

    def run(self) -> bool:
        """Make the call, unless another thread has begun it. Returns whether it was made here."""
        try:
            call = self._unclaimed.pop()
        except IndexError:
            return False
        try:
            self._outcome = (call(), None)
        except BaseException as error:  # noqa: BLE001  the waiting thread gets it
            self._outcome = (None, error)
        self.waiters.notify()
        return True

    def refuse(self) -> None:
        """Leave the call to a waiting thread."""
        self.refused = True
        self.waiters.notify()

    def waiting(self, seconds: float) -> Flow[bool]:
        """Wait for the call, or make it here if it was refused. True if it has ended."""
        end = clock.since_boot() + seconds
        while not self.done and (left := end - clock.since_boot()) > 0:
            if not (self.refused and self.run()):
                yield Wait(self.waiters, self._may_go_on, left)
        return self.done

    def _may_go_on(self) -> bool:
        return self.done or (self.refused and not self.claimed)

    def result(self) -> T:
        """Wait for the call to end, and return or raise its outcome."""
        waiters.run(self.waiting(math.inf))
        value, error = cast("tuple[T, BaseException | None]", self._outcome)
        if error is not None:
            raise error
        return value


class Pool:
    """Makes calls in up to `SIZE` threads.

    A signal handler may raise inside `submit` without lasting harm: each step is a single call in
    C, and a task that was not queued can be submitted again.
    """

    def __init__(self) -> None:
        self._submitted: deque[Task[object]] = deque()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        # guarded by the lock of the process, and changed only by threads of the pool
        self._waiting: dict[str, deque[Task[object]]] = {}
        self._running: collections.Counter[str] = collections.Counter()
        self._tasks: set[Task[object]] = set()
        self._workers = self._idle = 0
        self._ended = Waiters()

    def submit(self, task: Task[T]) -> None:
        """Queue the call. Calls for one resource are made in the order of submission."""
        if threads.can_run():
            self._queue(cast("Task[object]", task))
        else:
            task.refuse()
        # set last: a task whose submission was interrupted is submitted again
        task.submitted = True

    def _queue(self, task: Task[object]) -> None:
        self._submitted.append(task)
        self._wakes.put(None)
        if self._idle < len(self._submitted) and self._workers < SIZE:
            threads.start(self._work, "evertoken-worker", otherwise=self._give_up)

    def finish(self, seconds: float) -> None:
        """Wait until no call is running or queued, at most `seconds`."""
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
        """Wait for work. False: there was none, and this thread no longer counts as a worker."""
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
            # decrement first: a task submitted from now on starts a new thread
            self._idle -= 1
            self._sort_in()
            if self._next_resource() is not None:
                return True
            self._workers -= 1
        return False

    def _next(self) -> Task[object] | None:
        """The next task of a resource that has not used up its share."""
        with process.lock():
            self._sort_in()
            resource = self._next_resource()
            if resource is None:
                return None
            tasks = self._waiting.pop(resource)
            task = tasks.popleft()
            if tasks:
                # back to the end of the queue: resources take turns
                self._waiting[resource] = tasks
            self._running[resource] += 1
            self._tasks.add(task)
            return task

    def _next_resource(self) -> str | None:
        return next((each for each in self._waiting if self._running[each] < SHARE), None)

    def _sort_in(self) -> None:
        while self._submitted:
            task = self._submitted.popleft()
            if not task.claimed:
                self._waiting.setdefault(task.resource, deque()).append(task)

    def _end(self, task: Task[object]) -> None:
        with process.lock():
            self._tasks.discard(task)
            self._running[task.resource] -= 1
            if not self._running[task.resource]:
                del self._running[task.resource]
        self._ended.notify()

    def _give_up(self) -> None:
        """No thread could be started. If none is running, leave all tasks to their waiters."""
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
    """Submit `task` to the pool of the process."""
    _pool().submit(task)


def do_soon(call: Callable[[], object], resource: str) -> None:
    """Submit the call to the pool; if no thread can run, make it here."""
    task = Task(call, resource)
    submit(task)
    if task.refused:
        task.run()


def run(call: Callable[[], T], resource: str) -> T:
    """Make the call in the pool, and return or raise its outcome.

    If a signal handler raises meanwhile, the caller gets that exception, and the call goes on.
    """
    task = Task(call, resource)
    submit(task)
    return task.result()


def finish(seconds: float) -> None:
    """Wait until the pool of the process has no call left, at most `seconds`."""
    _pool().finish(seconds)
