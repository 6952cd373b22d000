"""One renewal under way: what it was asked, and where its landing is told."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evertoken import clock
from evertoken.errors import RefreshTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.demand import Demand, Outcome
    from evertoken.policy import Snapshot


@dataclass(frozen=True, slots=True)
class Landing:
    """What came of a renewal, and the snapshot that was published for it."""

    outcome: Outcome
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """A renewal that any number of callers wait for, each for as long as it likes."""

    demand: Demand
    landing: Future[Landing] = field(default_factory=Future)

    def take_off(self, fly: Callable[[Flight], None]) -> bool:
        """Run `fly` in a daemon thread: neither a caller's timeout nor exit waits for it.

        Returns:
            False where no thread is to be had, as at interpreter exit.
        """
        thread = threading.Thread(target=fly, args=(self,), name="evertoken-renewal", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        return True

    def wait(self, *, until: float) -> Landing:
        """The landing; `until` in seconds on the clock since boot.

        Raises:
            RefreshTimeout: it has not landed by then; it goes on.
        """
        left = min(max(0.0, until - clock.since_boot()), threading.TIMEOUT_MAX)
        with contextlib.suppress(TimeoutError):
            return self.landing.result(timeout=left)
        raise RefreshTimeout(
            "no token was there in time: the renewal goes on; try again, or allow a longer timeout",
            transient=True,
        )
