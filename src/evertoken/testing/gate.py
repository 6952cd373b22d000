"""Blocks a server's threads for a time, until a release, or until the server closes."""

from __future__ import annotations

import threading


class ClosedError(ConnectionAbortedError):
    """The server was closed before an answer was complete."""


class Gate:
    """Holds the threads that answer, and releases all of them at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards all below
        self._held = 0
        self._releases = 0
        self._closed = False

    def pause(self, seconds: float) -> None:
        """Wait for `seconds`.

        Raises:
            ClosedError: the gate was closed.
        """
        with self._changed:
            if self._changed.wait_for(lambda: self._closed, seconds):
                raise ClosedError

    @property
    def releases(self) -> int:
        """The number of releases so far."""
        with self._changed:
            return self._releases

    def hold(self, releases: int) -> None:
        """Wait for a release after the first `releases`.

        Raises:
            ClosedError: the gate was closed.
        """
        with self._changed:
            if self._releases == releases:
                self._held += 1
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._releases > releases)
            if self._closed:
                raise ClosedError

    def wait_for_held(self, count: int, timeout: float) -> None:
        """Block until `count` requests are held, at most `timeout` seconds.

        Raises:
            TimeoutError: fewer are held.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._held >= count, timeout):
                raise TimeoutError(f"{self._held} of {count} requests held within {timeout:g} s")

    def release(self) -> None:
        """Release the requests that are held now; later ones wait for the next release."""
        with self._changed:
            self._releases += 1
            self._held = 0  # here, not in `hold`: `wait_for_held` must not count released requests
            self._changed.notify_all()

    def close(self) -> None:
        """Release all requests, now and later, with `ClosedError`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
