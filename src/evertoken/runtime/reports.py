"""Log records and listeners: called in the pool, one after the other, so that none delays a call.

A log handler or a listener is code of the user's, which may block. It runs under no lock of ours,
and in no thread that a request waits for.
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

    from evertoken.runtime import pool
else:
    # most processes have nothing to report that the log's level lets through
    pool = lazy("evertoken.runtime.pool")

_log = logging.getLogger("evertoken")

MOST = 1000
"""Calls that wait for their turn, beyond which the oldest are dropped: a handler may hang."""

EXIT_WAIT = 1.0
"""Seconds that an exit of the process waits at most, for renewals and reports together."""


class Reporter:
    """Makes calls one after the other."""

    def __init__(self) -> None:
        self._patience = EXIT_WAIT
        self._pending: deque[Callable[[], object]] = deque(maxlen=MOST)
        self._turn = threading.Lock()  # held by the thread that makes the calls

    def tell(self, call: Callable[[], object]) -> None:
        """Have `call` made soon; what it raises is dropped."""
        self._pending.append(call)
        pool.submit(pool.Task(self.catch_up, "reports"))

    def catch_up(self, seconds: float = 0.0) -> None:
        """Make the calls here; if another thread does, wait for it, `seconds` at most."""
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
        """Have an exit wait for the renewals that run and for what they tell.

        A process that posts a wrong password and ends with the error would otherwise not save the
        refusal, and one that started a renewal would lose the token.
        """
        if "evertoken.runtime.pool" not in sys.modules:
            return  # nothing was ever to be done
        start = clock.since_boot()
        pool.finish(self._patience)
        self.catch_up(max(0.0, self._patience - (clock.since_boot() - start)))
        self._patience = max(0.0, self._patience - (clock.since_boot() - start))


_reporter = process.PerProcess(Reporter)


def tell(call: Callable[[], object]) -> None:
    """Have `call` made soon, outside of all locks."""
    _reporter().tell(call)


def log(level: int, text: str, *values: object) -> None:
    """Log `text` soon."""
    # not `isEnabledFor`: it holds logging's own lock in Python code
    if level >= _log.getEffectiveLevel():
        tell(functools.partial(_log.log, level, text, *values))


debug = functools.partial(log, logging.DEBUG)
info = functools.partial(log, logging.INFO)
warning = functools.partial(log, logging.WARNING)
error = functools.partial(log, logging.ERROR)


def catch_up(seconds: float) -> None:
    """Make the waiting reports here; if another thread does, wait for it, `seconds` at most."""
    _reporter().catch_up(seconds)


def report_here() -> None:
    """Report what waits, where no thread of the pool can."""
    if not threads.can_run():
        _reporter().catch_up()


def _end() -> None:
    _reporter().end()


atexit.register(_end)
# earlier, and in a child of multiprocessing too; it has no public name
with contextlib.suppress(AttributeError, RuntimeError):
    threading._register_atexit(_end)  # type: ignore[attr-defined]  # noqa: SLF001  as said
