"""One moment on two clocks: the immutable value behind every deadline."""

from __future__ import annotations

from typing import NamedTuple


class Instant(NamedTuple):
    """One moment on two clocks, in seconds.

    Attributes:
        wall: Unix time; may be set back or forward.
        boot: since boot, suspension included; never goes back.
    """

    wall: float
    boot: float

    def reached(self, now: Instant) -> bool:
        """Whether this moment has come on either clock."""
        return now.wall >= self.wall or now.boot >= self.boot

    def left(self, now: Instant) -> float:
        """Seconds until this moment on the clock that reaches it first; negative after it."""
        return min(self.wall - now.wall, self.boot - now.boot)

    def after(self, seconds: float) -> Instant:
        """This moment, moved by `seconds` on both clocks."""
        return Instant(self.wall + seconds, self.boot + seconds)

    def earlier(self, other: Instant) -> Instant:
        """The earlier of the two on each clock."""
        return Instant(min(self.wall, other.wall), min(self.boot, other.boot))


LONG_AGO = Instant(float("-inf"), float("-inf"))
"""A moment that every clock has passed."""
