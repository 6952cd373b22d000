"""The default folders of the config file and of the tokens."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import platformdirs

from evertoken.stores.private_folders import HomeUnknown, expanded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def config_folder() -> Path:
    """The folder of the config file.

    Raises:
        HomeUnknown: it would be in the home folder, which is not known.
    """
    return _of_user(platformdirs.user_config_dir, "name a file by --config")


def state_folder() -> Path:
    """The folder of the tokens; raises as `config_folder` does."""
    return _of_user(
        platformdirs.user_state_dir, "name a folder by --token-dir or SQUADRUN_TOKEN_DIR"
    )


def _of_user(find: Callable[..., str], otherwise: str) -> Path:
    # without a home folder, newer versions of platformdirs raise, and older ones keep the `~`
    with contextlib.suppress(RuntimeError, HomeUnknown):
        return expanded(find("evertoken", appauthor=False))
    raise HomeUnknown(f"the home folder is not known: set HOME, or {otherwise}")
