"""One thread that submits a check to the pool for each manager that is due."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import queue
import weakref
from typing import Protocol

from evertoken.runtime import clock, pool, process, reports, threads

LONGEST_SLEEP = 30.0
"""Seconds the scheduler sleeps at most: the wall clock may be set, or the machine suspended."""

LONGEST_ALONE = 120.0
"""Seconds after which a manager is checked in any case: a sibling may have revoked its token."""

CLOCK_SET = 1.0
"""Seconds. If the wall clock drifts further from the clock since boot, it has been set."""

PAUSE = 5.0
"""Seconds until the next check after one that raised."""


class Refreshable(Protocol):
    """An object that the scheduler keeps fresh."""

    @property
    def resource(self) -> str:
        """The server or folder that a check may hang on."""

    @property
    def label(self) -> str:
        """What log records call it."""

    def refresh_if_due(self) -> float | None:
        """Start a renewal if one is due; returns seconds until the next check, None for never."""


class Scheduler:
    """Checks any number of `Refreshable`s, which it holds weakly."""

    def __init__(self) -> None:
        self._due: dict[weakref.ref[Refreshable], float] = {}
        self._heap: list[tuple[float, int, weakref.ref[Refreshable]]] = []
        self._order = itertools.count()
        self._runs = False
        # put() is a single call in C: a signal handler or the garbage collector may call it again
        self._requested: queue.SimpleQueue[tuple[weakref.ref[Refreshable], float]] = (
            queue.SimpleQueue()
        )

    def check_in(self, kept: Refreshable, seconds: float) -> None:
        """Check `kept` in `seconds`, unless a check is due sooner."""
        due = clock.since_boot() + max(0.0, min(seconds, LONGEST_ALONE))
        self._requested.put((weakref.ref(kept), due))
        if not self._runs:
            threads.start(self._run, "evertoken-scheduler", otherwise=_nothing)

    def _run(self) -> None:
        with process.lock():
            if self._runs:
                return
            self._runs = True
        ahead = _wall_ahead()
        while True:
            self._listen()
            before, ahead = ahead, _wall_ahead()
            if abs(ahead - before) > CLOCK_SET:
                self._make_all_due()
            self._submit_due()

    def _listen(self) -> None:
        """Receive requests for checks until a check is due."""
        # a timed wait does not advance while the machine is suspended, so each one is short
        left = LONGEST_SLEEP if not self._heap else self._heap[0][0] - clock.since_boot()
        try:
            kept, due = self._requested.get(timeout=max(0.0, min(left, LONGEST_SLEEP)))
        except queue.Empty:
            return
        # The earlier time wins. A renewal may end and request its next check before the check that
        # started it has returned. A superfluous check is harmless.
        if due < self._due.get(kept, math.inf):
            self._plan(kept, due)

    def _plan(self, kept: weakref.ref[Refreshable], due: float) -> None:
        self._due[kept] = due
        heapq.heappush(self._heap, (due, next(self._order), kept))

    def _make_all_due(self) -> None:
        """Make all checks due now: after the wall clock was set, any token may be due."""
        self._heap.clear()
        for kept in self._due:
            self._plan(kept, clock.since_boot())

    def _submit_due(self) -> None:
        now = clock.since_boot()
        while self._heap and self._heap[0][0] <= now:
            due, _, kept = heapq.heappop(self._heap)
            if self._due.get(kept) == due:
                del self._due[kept]
                self._submit(kept)

    def _submit(self, kept: weakref.ref[Refreshable]) -> None:
        alive = kept()
        if alive is None:
            return
        task = pool.Task(functools.partial(self._refresh, kept), alive.resource)
        pool.submit(task)
        if task.refused:
            # no thread can be started now; the manager is not checked by anything else
            self._plan(kept, clock.since_boot() + PAUSE)

    def _refresh(self, kept: weakref.ref[Refreshable]) -> None:
        alive = kept()
        if alive is None:
            return
        try:
            seconds = alive.refresh_if_due()
        except Exception as error:  # noqa: BLE001  a user's store may raise anything
            # only its type: the text may quote a secret
            kind = type(error).__name__
            text = "keep_fresh failed for %s, next try in %g s: %s"
            reports.error(text, alive.label, PAUSE, kind)
            seconds = PAUSE
        if seconds is not None:
            self.check_in(alive, seconds)


def _wall_ahead() -> float:
    now = clock.now()
    return now.wall - now.boot


def _nothing() -> None:
    """Nothing to do: a call that finds the token due renews it, and tries to start a thread."""


_scheduler = process.PerProcess(Scheduler)


def check_in(kept: Refreshable, seconds: float) -> None:
    """Have the scheduler check `kept` in `seconds`, unless a check is due sooner."""
    _scheduler().check_in(kept, seconds)
