"""Keeps a process from ending while a renewal that has released its callers still saves."""

from __future__ import annotations

import contextlib
import threading

LONGEST_HOLD = 0.7
"""Seconds that an exit waits at most."""


class ExitHold:
    """Has an exit of the process wait, from `start` to `release`.

    A process that posts a wrong password and ends with the error would otherwise not save the
    refusal, and the next one would post the password again.
    """

    __slots__ = ("_released",)

    def __init__(self) -> None:
        self._released: threading.Event | None = None

    def start(self) -> None:
        """Hold the exit for `LONGEST_HOLD` seconds at most."""
        self._released = threading.Event()
        # not a daemon: an exit joins it, that of a child of multiprocessing too
        waiting = threading.Thread(
            target=self._released.wait, args=(LONGEST_HOLD,), name="evertoken-exit", daemon=False
        )
        with contextlib.suppress(RuntimeError):  # no thread can start, as at interpreter exit
            waiting.start()

    def release(self) -> None:
        """Hold it no longer."""
        if self._released is not None:
            self._released.set()
