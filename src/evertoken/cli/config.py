"""The TOML file of profiles: read with distrust, written whole and for its owner alone."""

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
"""The profile that is taken where none is named."""


UNKNOWN = Path("~/.config/evertoken/config.toml")
"""What messages call the file where no home folder is known; it is never opened."""


def default_path() -> Path:
    """Where the file is, unless `--config` says otherwise.

    Raises:
        HomeUnknown: no home folder is known.
    """
    return homes.config_folder() / "config.toml"


def read(path: Path) -> dict[str, dict[str, object]]:
    """The profiles in `path` by name; paths of secrets count from its folder.

    Raises:
        FileNotFoundError: there is no such file.
        Unusable: it is not to be trusted or not to be read.
    """
    import tomllib  # noqa: PLC0415  where there is no file, nobody needs it

    try:
        with open(path, "rb") as file:
            _require_own(os.fstat(file.fileno()), path)
            tables = tomllib.load(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Unusable(f"{path} is no TOML: {error}") from None
    if loose := next((name for name, table in tables.items() if not isinstance(table, dict)), None):
        raise Unusable(f"{path}: {loose} stands outside of a profile: put it below [{DEFAULT}]")
    return {name: _anchored(table, path.parent) for name, table in tables.items()}


def write(path: Path, profile: str, settings: Mapping[str, str | bool]) -> None:
    """Set `settings` in `profile`, and leave all else in the file as it stands, comments too.

    Raises:
        Unusable: the file cannot be written.
    """
    import tomlkit  # noqa: PLC0415  only `login` writes

    try:
        # one that is linked, as from a folder of dotfiles, stays linked
        target = path.resolve()
        text = target.read_text(encoding="utf-8") if target.exists() else ""
        document = tomlkit.parse(text)
        document.setdefault(profile, tomlkit.table()).update(settings)
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
    """Only who may act as this user may name commands for it to run."""
    if private_files.others_can_write(found):
        raise Unusable(
            f"{path} can be written by others, and it may name commands to run: chmod go-w it"
        )


def _anchored(table: dict[str, object], folder: Path) -> dict[str, object]:
    return {
        name: str(folder / private_folders.expanded(value))
        if isinstance(value, str) and name.endswith(("_file", "_dir"))
        else value
        for name, value in table.items()
    }
