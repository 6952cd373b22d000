"""The modes of files and folders."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def mode_of(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def modes_below(top: Path) -> set[tuple[str, str]]:
    """The kind and mode of everything in `top`."""
    return {
        ("folder" if path.is_dir() else "file", f"{mode_of(path):04o}") for path in top.rglob("*")
    }
