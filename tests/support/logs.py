"""What a user with logging as it is by default would see."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def warned(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The records from WARNING on: the suite captures every library's DEBUG too."""
    return [record for record in caplog.records if record.levelno >= logging.WARNING]
