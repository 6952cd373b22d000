"""The config file: profiles in TOML, checked when read, replaced atomically with mode 0600."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from evertoken.cli import homes
from evertoken.cli.exits import Unusable
from evertoken.stores import private_files, private_folders

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "default"
"""The profile that is used if none is named."""


UNKNOWN = Path("~/.config/evertoken/config.toml")
"""The name of the file in messages if the home folder is not known; it is never opened."""


def default_path() -> Path:
    """The path of the file, unless `--config` gives another.

    Raises:
        HomeUnknown: no home folder is known.
    """
    return homes.config_folder() / "config.toml"


def read(path: Path) -> dict[str, dict[str, object]]:
    """The profiles in `path`, by name. Relative paths in them start from its folder.

    Raises:
        FileNotFoundError: the file does not exist.
        Unusable: others can write to the file, or it cannot be read.
    """
    import tomllib  # noqa: PLC0415  not needed without a file

    try:
        with open(path, "rb") as file:
            _require_own(os.fstat(file.fileno()), path)
            tables = tomllib.load(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Unusable(f"{path} is not valid TOML: {error}") from None
    if loose := next((name for name, table in tables.items() if not isinstance(table, dict)), None):
        raise Unusable(f"{path}: {loose} is outside of a profile: move it below [{DEFAULT}]")
    return {name: _anchored(table, path.parent) for name, table in tables.items()}


def write(path: Path, profile: str, settings: Mapping[str, str | bool | None]) -> None:
    """Set `settings` in `profile`, and keep everything else in the file, comments too.

    A setting that is None is removed.

    Raises:
        Unusable: the file cannot be written.
    """
    import tomlkit  # noqa: PLC0415  only `login` writes

    try:
        # keep a symbolic link, as a folder of dotfiles has them
        target = path.resolve()
        text = target.read_text(encoding="utf-8") if target.exists() else ""
        document = tomlkit.parse(text)
        table = document.setdefault(profile, tomlkit.table())
        for name, value in settings.items():
            if value is None:
                table.pop(name, None)
            else:
                table[name] = value
        private_folders.make(target.parent)
        _replace(target, tomlkit.dumps(document))
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    # mkstemp creates with mode 0600, less what the umask removes
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            private_files.restore_mode(descriptor)
            file.write(text)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def _require_own(found: os.stat_result, path: Path) -> None:
    """Refuse a file that others can write: it may name commands to run as this user."""
    if private_files.others_can_write(found):
        raise Unusable(f"others can write to {path}, which may name commands to run: chmod go-w it")


def _anchored(table: dict[str, object], folder: Path) -> dict[str, object]:
    return {
        name: str(folder / private_folders.expanded(value))
        if isinstance(value, str) and name.endswith(("_file", "_dir"))
        else value
        for name, value in table.items()
    }
