"""One renewal in flight: any number of callers wait for its result, each for its own timeout."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from evertoken import clock
from evertoken.errors import RefreshTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.effects import RenewalRequest, Result
    from evertoken.core.state import Snapshot


FINISHING = 70
"""Hundredths of a second that an exit waits at most for renewals that still save."""


class Published(NamedTuple):
    """The result of a renewal, and the snapshot that was made of it."""

    result: Result
    snapshot: Snapshot


class InFlight:
    """A renewal that is under way in a thread of its own."""

    __slots__ = ("_published", "request")

    def __init__(self, request: RenewalRequest) -> None:
        self.request = request
        self._published: Future[Published] = Future()

    def start(self, run: Callable[[InFlight], None]) -> bool:
        """Call `run` in a daemon thread, which neither a caller's timeout nor an exit waits for.

        Returns:
            False where no thread can start, as at interpreter exit.
        """
        thread = threading.Thread(target=run, args=(self,), name="evertoken-renewal", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        return True

    def publish(self, result: Result, snapshot: Snapshot) -> None:
        """Release the waiting callers. Until `end`, an exit waits for what is still to be saved.

        A process that posts a wrong password once and ends would otherwise save no refusal, and
        the next one would post it again.
        """
        _unsaved.add(self)
        self._published.set_result(Published(result, snapshot))

    def end(self) -> None:
        """All is saved."""
        _unsaved.discard(self)

    def wait(self, *, until: float) -> Published:
        """The result; `until` in seconds on the clock since boot.

        Raises:
            RefreshTimeout: there is none by then. The renewal goes on.
        """
        left = min(max(0.0, until - clock.since_boot()), threading.TIMEOUT_MAX)
        with contextlib.suppress(TimeoutError):
            return self._published.result(timeout=left)
        raise RefreshTimeout(
            "no token within the timeout; the renewal goes on: try again, or allow more time",
            transient=True,
        )


_unsaved: set[InFlight] = set()


def _finish() -> None:
    # neither a lock, which may be held for ever by now, nor a clock, which a test may have stopped
    for _ in range(FINISHING):
        if not _unsaved:
            return
        clock.sleep(0.01)


atexit.register(_finish)
if hasattr(os, "register_at_fork"):
    # the threads that would end these run in the parent only
    os.register_at_fork(after_in_child=_unsaved.clear)
