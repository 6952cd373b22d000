"""Both clocks of this process, which a test can set."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from evertoken.runtime import clock

if TYPE_CHECKING:
    import pytest


class Clocks:
    """Both clocks, which a test can set."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall_offset = 0.0
        self.boot_offset = 0.0
        wall, boot = time.time, clock._since_boot
        patch.setattr(time, "time", lambda: wall() + self.wall_offset)
        patch.setattr(clock, "_since_boot", lambda: boot() + self.boot_offset)

    def pass_by(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall_offset += seconds
        self.boot_offset += seconds
