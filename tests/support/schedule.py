"""A seeded scheduler of threads: one runs at a time, and a random draw at each line picks it.

Inside `Schedule.installed()` the modules of a renewal get their locks, conditions and threads from
here. Time passes only while all threads wait, so the same seed gives the same interleaving.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest

from evertoken.core import exchange, renewal, revocation, state
from evertoken.engine import driver, ending, in_flight, manager, polling, renewer
from evertoken.runtime import clock, pool, process, reports, waiters
from evertoken.stores import file, file_lock, memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

BOUND = 20.0
"""Seconds of real time for one run. A longer run waits for something that is not scheduled."""

START = 1_800_000_000.0

TRACED = [
    manager,
    renewer,
    polling,
    ending,
    driver,
    exchange,
    renewal,
    revocation,
    state,
    in_flight,
    waiters,
    memory,
    file,
    file_lock,
]
"""The modules in which another thread may run between any two lines."""

SHARES = (0.02, 0.1, 0.5)
"""How often threads switch: rare switches find bugs that need one, frequent ones others."""

PACES = ((1,), (1, 6, 36))
"""Weights of threads in a draw: equal threads meet at one place, a slow one sees all of another."""


class Deadlock(AssertionError):
    """All threads wait, none of them with a timeout."""


class Aborted(BaseException):
    """Ends a thread after its run."""


def _always() -> bool:
    return True


@dataclass(eq=False)
class Strand:
    """A scheduled thread.

    Attributes:
        pace: its weight in a draw.
        ready: whether its wait is over.
        until: when its wait times out.
        turn: released to let it continue.
    """

    name: str
    pace: int
    ready: Callable[[], bool] = _always
    until: float = inf
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Schedule:
    """One run of some threads.

    Attributes:
        decisions: the thread that continued, at each point with a choice.
        seconds: the virtual time that has passed.
    """

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311  to be repeated
        self._share = self._dice.choice(SHARES)
        self._paces = self._dice.choice(PACES)
        self._strands: dict[int, Strand] = {}
        self._waiting: list[Strand] = []
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._started = 0
        self._files = {module.__file__ for module in TRACED}
        self.decisions: list[str] = []
        self.seconds = 0.0

    # --- time -----------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """Let other threads run for `seconds`; between two runs, let time pass."""
        if self._me() is None:
            self.seconds += seconds
        else:
            self.wait(lambda: False, seconds)

    def draw(self, *seconds: float) -> float:
        """A random choice from `seconds`."""
        return self._dice.choice(seconds)

    def wall(self) -> float:
        """Unix seconds."""
        return START + self.seconds

    def _boot(self) -> float:
        return 1000.0 + self.seconds

    # --- threads --------------------------------------------------------------------------------

    def run(self, *calls: Callable[[], object]) -> list[object]:
        """Make each call in its own thread, and return their results or exceptions.

        It ends with the last thread, including threads that the calls started.

        Raises:
            Deadlock: the threads wait for each other.
        """
        results: list[object] = [None] * len(calls)

        def told(number: int) -> None:
            try:
                results[number] = calls[number]()
            except Exception as error:  # noqa: BLE001  it is the result
                results[number] = error

        self._over.clear()
        for number in range(len(calls)):
            self._spawn(partial(told, number), f"caller-{number}")
        self._pick(self._runnable()).turn.release()
        assert self._over.wait(BOUND), "a thread waits for something that is not scheduled"
        if self._failure is not None:
            raise self._failure
        return results

    def _spawn(self, call: Callable[[], object], name: str) -> None:
        strand = Strand(name, self._dice.choice(self._paces))
        self._waiting.append(strand)

        def live() -> None:
            before = sys.gettrace()
            self._strands[threading.get_ident()] = strand
            try:
                strand.turn.acquire()
                sys.settrace(self._trace)
                call()
            except Aborted:
                pass
            finally:
                sys.settrace(before)
                self._end(strand)

        threading.Thread(target=live, name=name, daemon=True).start()

    def _end(self, strand: Strand) -> None:
        del self._strands[threading.get_ident()]
        self._waiting.remove(strand)
        if self._failure is None:
            self._hand_over()
        elif not self._waiting:
            self._over.set()

    def _trace(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in self._files:
            return None
        if event == "line" and self._dice.random() < self._share:
            self.wait(_always)
        return self._trace

    # --- turns ----------------------------------------------------------------------------------

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Let other threads run until `ready()`; False if it is not after `timeout` seconds."""
        me = self._me()
        if me is None:
            assert ready(), "nobody is there to wait for"
            return True
        me.ready = ready
        me.until = inf if timeout is None else self.seconds + timeout
        try:
            self._hand_over()
            me.turn.acquire()
            if self._failure is not None:
                raise Aborted
            return ready()
        finally:
            me.ready, me.until = _always, inf

    def _me(self) -> Strand | None:
        return self._strands.get(threading.get_ident())

    def _hand_over(self) -> None:
        if not self._waiting:
            self._over.set()
        elif runnable := self._runnable():
            self._pick(runnable).turn.release()
        else:
            self._fail(Deadlock([strand.name for strand in self._waiting]))

    def _runnable(self) -> list[Strand]:
        """The threads that can continue; if none can, those with the shortest timeout."""
        ready = [each for each in self._waiting if each.ready() or each.until <= self.seconds]
        if not ready and (first := min(each.until for each in self._waiting)) < inf:
            self.seconds = first
            return self._runnable()
        return ready

    def _pick(self, runnable: list[Strand]) -> Strand:
        paces = [strand.pace for strand in runnable]
        [strand] = self._dice.choices(runnable, paces)
        self.decisions.append(strand.name)
        return strand

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure
        for strand in self._waiting:
            strand.turn.release()

    # --- what the modules of a renewal use --------------------------------------------------------

    @contextmanager
    def installed(self) -> Iterator[Self]:
        """Schedule everything that is created in the block."""
        real_sleep = time.sleep

        def sleep(seconds: float) -> None:
            real_sleep(seconds) if self._me() is None else self.sleep(seconds)

        parts = SimpleNamespace(
            Lock=lambda: Lock(self, reentrant=False),
            RLock=lambda: Lock(self, reentrant=True),
            TIMEOUT_MAX=threading.TIMEOUT_MAX,
        )
        here = process.Process()
        here.lock = Lock(self, reentrant=True)  # type: ignore[assignment]  # as one of threading's
        here.jitter_fraction = 0.5
        # idle threads of the process's pool, which must not take a scheduled lock
        elsewhere = {*threading.enumerate()} - {threading.current_thread()}
        real_process = process.current

        def current() -> process.Process:
            return real_process() if threading.current_thread() in elsewhere else here

        # the garbage collector would run at different points in each run
        gc.disable()
        with pytest.MonkeyPatch.context() as patch:
            for module in (driver, memory, waiters):
                patch.setattr(module, "threading", parts)
            patch.setattr(process, "current", current)
            patch.setattr(pool, "submit", self._submit)
            patch.setattr(reports, "enqueue", lambda _call: None)
            patch.setattr(time, "time", self.wall)
            patch.setattr(time, "perf_counter", self._boot)
            # filelock's, and those of other libraries
            patch.setattr(time, "sleep", sleep)
            patch.setattr(clock, "_since_boot", self._boot)
            patch.setattr(clock, "sleep", sleep)
            try:
                yield self
            finally:
                gc.enable()

    def _submit(self, task: pool.Task[Any]) -> None:
        """Make the call in another thread, as the pool would."""
        self._started += 1
        self._spawn(task.run, f"worker-{self._started}")
        task.submitted = True


class Lock:
    """A lock, reentrant or not."""

    def __init__(self, schedule: Schedule, *, reentrant: bool) -> None:
        self._schedule = schedule
        self._reentrant = reentrant
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002  as threading's
        me = threading.get_ident()
        if not (self._reentrant and self._owner == me):
            longest = timeout if timeout >= 0 else None
            if not self._schedule.wait(lambda: self._owner is None, longest if blocking else 0.0):
                return False
        self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        if self._reentrant:
            assert self._owner == threading.get_ident(), "released by another thread"
        self._depth -= 1
        if self._depth == 0:
            self._owner = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
