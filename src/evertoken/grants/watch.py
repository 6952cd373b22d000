"""A total deadline over one HTTP exchange: socket timeouts only bound the wait for each byte."""

from __future__ import annotations

from evertoken.runtime import clock


class Watch:
    """Counts `seconds` down, and knows whether anything was sent.

    A server that sends its headers or its body drop by drop would otherwise hold a renewal, and
    the lock that it keeps, for as long as it likes. Each wait for a socket asks how long it may
    take, so no thread is needed to end one.

    Attributes:
        sent: whether a byte of the request may have reached the server.
    """

    def __init__(self, seconds: float) -> None:
        self.sent = False
        self._end = clock.since_boot() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 or less once it has passed."""
        return self._end - clock.since_boot()

    def bound(self, seconds: float | None) -> float:
        """How long the next wait may take: `seconds` (None: no bound of its own), or what is left.

        Raises:
            TimeoutError: nothing is left.
        """
        left = self.left
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left if seconds is None else min(seconds, left)
