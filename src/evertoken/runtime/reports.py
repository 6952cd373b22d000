"""Calls log handlers and listeners in the pool, one at a time, so that none delays a request.

They are the user's code and may block. They run under no lock of ours, and never in a thread that a
request waits for.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from evertoken.runtime import clock, process, threads
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from evertoken.runtime import pool

    class Log(Protocol):
        """Logs a message of one level, with its `%` parameters, outside of all locks."""

        def __call__(self, text: str, *values: object) -> None:
            """Log `text` soon."""
else:
    # most processes report nothing at their log level
    pool = lazy("evertoken.runtime.pool")

_log = logging.getLogger("evertoken")

MOST = 1000
"""The most pending calls. If a handler hangs and there are more, the oldest are dropped."""

EXIT_WAIT = 1.0
"""Seconds that the exit of the process waits at most, for renewals and reports together."""


class Reporter:
    """Makes calls one at a time."""

    def __init__(self) -> None:
        self._exit_wait = EXIT_WAIT
        self._pending: deque[Callable[[], object]] = deque(maxlen=MOST)
        self._turn = threading.Lock()  # held by the thread that makes the calls

    def enqueue(self, call: Callable[[], object]) -> None:
        """Queue `call`; an exception in it is dropped."""
        self._pending.append(call)
        pool.submit(pool.Task(self.catch_up, "reports"))

    def catch_up(self, seconds: float = 0.0) -> None:
        """Make the pending calls here. If another thread is making them, wait at most `seconds`."""
        while self._turn.acquire(timeout=seconds):
            try:
                self._make_calls()
            finally:
                self._turn.release()
            if not self._pending:
                return

    def _make_calls(self) -> None:
        while self._pending:
            with contextlib.suppress(IndexError, Exception):
                self._pending.popleft()()

    def end(self) -> None:
        """At exit, wait for running renewals and their reports.

        Otherwise a process that ends after a refused password would not save the refusal, and one
        that started a renewal would lose the token.
        """
        if "evertoken.runtime.pool" not in sys.modules:
            return  # nothing was ever submitted
        start = clock.since_boot()
        pool.finish(self._exit_wait)
        self.catch_up(max(0.0, self._exit_wait - (clock.since_boot() - start)))
        self._exit_wait = max(0.0, self._exit_wait - (clock.since_boot() - start))


_reporter = process.PerProcess(Reporter)


def enqueue(call: Callable[[], object]) -> None:
    """Queue `call`, to be made outside all locks."""
    _reporter().enqueue(call)


def log(level: int, text: str, *values: object) -> None:
    """Queue a log record."""
    # not `isEnabledFor`, which takes logging's lock in Python code
    if level >= _log.getEffectiveLevel():
        enqueue(functools.partial(_log.log, level, text, *values))


debug: Log = functools.partial(log, logging.DEBUG)
info: Log = functools.partial(log, logging.INFO)
warning: Log = functools.partial(log, logging.WARNING)
error: Log = functools.partial(log, logging.ERROR)


def catch_up(seconds: float) -> None:
    """Make the pending reports here. If another thread is doing so, wait at most `seconds`."""
    _reporter().catch_up(seconds)


def report_here() -> None:
    """Make the pending reports here if no pool thread can run."""
    if not threads.can_run():
        _reporter().catch_up()


def _end() -> None:
    _reporter().end()


atexit.register(_end)
# Runs earlier than atexit, and in children of multiprocessing too. It has no public name.
with contextlib.suppress(AttributeError, RuntimeError):
    threading._register_atexit(_end)  # type: ignore[attr-defined]  # noqa: SLF001  see above
