"""Where a silent server waits: until a time has passed, until released, until closed."""

from __future__ import annotations

import threading


class ClosedError(ConnectionAbortedError):
    """The server closed while an answer was on its way."""


class Gate:
    """Holds the threads that answer, and lets go of all of them at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards all below
        self._held = 0
        self._releases = 0
        self._closed = False

    def pause(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            ClosedError: at once when the gate closes.
        """
        with self._changed:
            if self._changed.wait_for(lambda: self._closed, seconds):
                raise ClosedError

    def hold(self) -> None:
        """Wait for the next release.

        Raises:
            ClosedError: at once when the gate closes.
        """
        with self._changed:
            before = self._releases
            self._held += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or self._releases > before)
            if self._closed:
                raise ClosedError

    def wait_for_held(self, count: int, timeout: float) -> None:
        """Block until `count` requests are held, at most `timeout` seconds.

        Raises:
            TimeoutError: there are still fewer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._held >= count, timeout):
                raise TimeoutError(f"{self._held} of {count} requests held within {timeout:g} s")

    def release(self) -> None:
        """Let those go on that are held now; later ones wait for the next release."""
        with self._changed:
            self._releases += 1
            self._held = 0  # at once: who waits for the next hold must not count these
            self._changed.notify_all()

    def close(self) -> None:
        """Let everyone go, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
