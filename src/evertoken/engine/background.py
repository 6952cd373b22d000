"""The thread of `keep_fresh`: renews a token when it is due, without any request."""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from typing import Protocol

LONGEST_SLEEP = 30.0
"""Seconds. Waiting stands still while a machine is suspended, so no sleep may be long."""


class Refreshable(Protocol):
    """What is kept fresh."""

    def refresh_if_due(self) -> float:
        """Start a renewal if one is due; seconds until one may be due again."""


class BackgroundRefresher:
    """Keeps a manager fresh until that is closed or collected; holds it weakly in between."""

    def __init__(self, kept: Refreshable) -> None:
        # put() is reentrant: the garbage collector may call wake() inside any other call, where
        # the lock of an Event would be held already
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._kept = weakref.ref(kept, lambda _: self.wake())
        self._stopped = False

    def start(self) -> None:
        """Start the daemon thread. Whoever calls `wake` after a renewal must be set up before."""
        threading.Thread(target=self._run, name="evertoken-refresher", daemon=True).start()

    def wake(self) -> None:
        """Have it look at once."""
        self._wakes.put(None)

    def stop(self) -> None:
        """End the thread; does not wait for it."""
        self._stopped = True
        self.wake()

    def _run(self) -> None:
        while not self._stopped and (kept := self._kept()) is not None:
            seconds = kept.refresh_if_due()
            del kept
            with contextlib.suppress(queue.Empty):
                self._wakes.get(timeout=max(0.0, min(seconds, LONGEST_SLEEP)))
