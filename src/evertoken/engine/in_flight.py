"""One renewal in flight: any number of callers wait for its result, each for its own timeout."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from evertoken.errors import RefreshTimeout
from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.effects import RenewalRequest, Result
    from evertoken.core.state import Snapshot


class Published(NamedTuple):
    """The result of a renewal, and the snapshot that was made of it."""

    result: Result
    snapshot: Snapshot


class InFlight:
    """A renewal that is under way in a thread of its own."""

    __slots__ = ("_published", "report", "request")

    def __init__(self, request: RenewalRequest) -> None:
        self.request = request
        self.report: Callable[[], None] = _nothing
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
        """Release the waiting callers."""
        self._published.set_result(Published(result, snapshot))

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


def _nothing() -> None:
    """A renewal without a result has nothing to report."""
