"""The thread of `keep_fresh`: renews a token when it is due, without any request."""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from typing import Protocol

LONGEST_NAP = 30.0
"""Seconds: waiting stands still while a machine is suspended, so that no nap may be long."""


class Kept(Protocol):
    """What is kept fresh."""

    def tend(self) -> float:
        """Renew if that is due; seconds until it may be due again."""


class Keeper:
    """Tends to a manager until that is closed or collected; holds it weakly in between."""

    def __init__(self, kept: Kept) -> None:
        # put() is reentrant: the garbage collector may call wake() inside of any other call, where
        # the lock of an Event would be held already
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._kept = weakref.ref(kept, lambda _: self.wake())
        self._stopped = False

    def start(self) -> None:
        """Begin, in a daemon thread; whoever tells it of landings must be set up before."""
        threading.Thread(target=self._run, name="evertoken-keeper", daemon=True).start()

    def wake(self) -> None:
        """Have it look at once."""
        self._wakes.put(None)

    def stop(self) -> None:
        """End the thread; does not wait for it."""
        self._stopped = True
        self.wake()

    def _run(self) -> None:
        while not self._stopped and (kept := self._kept()) is not None:
            nap = kept.tend()
            del kept
            with contextlib.suppress(queue.Empty):
                self._wakes.get(timeout=max(0.0, min(nap, LONGEST_NAP)))
