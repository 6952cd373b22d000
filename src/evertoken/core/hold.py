"""What came of asking for a lock.

Apart from the effects, since a process that finds its token in a store loads no renewal.
"""

from __future__ import annotations

import enum


class Hold(enum.Enum):
    """What came of asking for a lock."""

    HELD = "held"
    BUSY = "another holds it"
    ABSENT = "the store offers no lock, or is away"

    def __bool__(self) -> bool:
        """True unless `BUSY`. Stores written for 0.1 answer with a bool."""
        return self is not Hold.BUSY
