"""The outcome of a lock.

Separate from the effects: a process that finds its token in a store does not load them.
"""

from __future__ import annotations

import enum


class Hold(enum.Enum):
    """Whether a lock is held."""

    HELD = "held"
    BUSY = "another process or thread holds it"
    ABSENT = "the store does not support locking, or is unreachable"

    def __bool__(self) -> bool:
        """True unless `BUSY`. Stores written for version 0.1 yield a bool."""
        return self is not Hold.BUSY
