"""The log records that a user with default logging would see."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def warned(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The records at WARNING and above; the suite captures DEBUG records of all libraries."""
    return [record for record in caplog.records if record.levelno >= logging.WARNING]
