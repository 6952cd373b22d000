"""The folders of a user in which commands keep profiles and tokens unless told otherwise."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import platformdirs

from evertoken.stores.private_folders import HomeUnknown, expanded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def config_folder() -> Path:
    """Where the file of profiles is.

    Raises:
        HomeUnknown: it would be in a home folder that is not known.
    """
    return _of_user(platformdirs.user_config_dir, "name a file by --config")


def state_folder() -> Path:
    """Where tokens are kept; raises as `config_folder` does."""
    return _of_user(
        platformdirs.user_state_dir, "name a folder by --token-dir or SQUADRUN_TOKEN_DIR"
    )


def _of_user(find: Callable[..., str], otherwise: str) -> Path:
    # where no home folder is known, newer versions of platformdirs raise, and older ones leave `~`
    with contextlib.suppress(RuntimeError, HomeUnknown):
        return expanded(find("evertoken", appauthor=False))
    raise HomeUnknown(f"no home folder is known: set HOME, or {otherwise}")
