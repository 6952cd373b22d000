"""The thread of `keep_fresh`: renews a token when it is due, without any request."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import weakref
from typing import Protocol

LONGEST_SLEEP = 30.0
"""Seconds. Waiting stands still while a machine is suspended, so no sleep may be long."""

PAUSE = 5.0
"""Seconds until the next look after one that raised."""

_log = logging.getLogger("evertoken")


class Refreshable(Protocol):
    """What is kept fresh."""

    def refresh_if_due(self) -> float:
        """Start a renewal if one is due; seconds until one may be due again."""


class BackgroundRefresher:
    """Keeps a manager fresh until that is closed or collected; holds it weakly in between."""

    def __init__(self, kept: Refreshable) -> None:
        # put() is reentrant: the garbage collector may run the callback inside any other call,
        # where the lock of an Event would be held already
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._kept = weakref.ref(kept, lambda _: self._wakes.put(None))
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="evertoken-refresher", daemon=True)

    def start(self) -> None:
        """Start the daemon thread, unless it was started before.

        Where no thread can start, the next `start` or `wake` tries again. Whoever calls `wake`
        after a renewal must be set up before.
        """
        # also raised for a thread that was started before
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def wake(self) -> None:
        """Have it look at once."""
        if not self._stopped:
            self.start()
        self._wakes.put(None)

    def stop(self) -> None:
        """End the thread; does not wait for it."""
        self._stopped = True
        self._wakes.put(None)

    def _run(self) -> None:
        while not self._stopped and (kept := self._kept()) is not None:
            seconds = _refresh(kept)
            del kept
            with contextlib.suppress(queue.Empty):
                self._wakes.get(timeout=max(0.0, min(seconds, LONGEST_SLEEP)))


def _refresh(kept: Refreshable) -> float:
    """Seconds until the next look; `PAUSE` if this one failed, for it must not end the thread."""
    try:
        return kept.refresh_if_due()
    except Exception as error:  # noqa: BLE001  a user's store may raise anything
        # by its type alone: the text may quote a secret
        _log.error("keep_fresh failed, next try in %g s: %s", PAUSE, type(error).__name__)
        return PAUSE
