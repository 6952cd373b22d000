"""An interpreter that lacks what Windows lacks, and whose files behave as on Windows.

It still runs on Linux: its locks (filelock's), its clock and its file names are Linux's.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

ABSENT = (
    *("fork", "forkpty", "register_at_fork", "fchmod", "chown", "fchown", "mkfifo"),
    *("getuid", "geteuid", "getgid", "getegid", "getgroups"),
    *("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY"),
)
"""Names in `os` that Windows lacks."""

CHOOSERS = ("filelock", "platformdirs")
"""Packages with code for Windows, which here must choose their code for Linux."""

BINARY = 0x8000
"""The value of `os.O_BINARY` on Windows; `os.open` ignores it on Linux."""


def environment(folder: Path) -> dict[str, str]:
    """The environment of such an interpreter; `folder` must be empty."""
    (folder / "sitecustomize.py").write_text("from support import windows\nwindows.pretend()\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), TESTS])}


def pretend() -> None:
    """Make this interpreter one, before anything else is imported."""
    _keep_os_of(*CHOOSERS)
    for name in ABSENT:
        delattr(os, name)
    sys.modules["fcntl"] = None  # type: ignore[assignment]  # so that its import fails
    os.O_BINARY = BINARY  # type: ignore[attr-defined]  # only Windows has it
    _give_one_mode_to_all()
    for name, paths in {"replace": 2, "rename": 2, "unlink": 1, "remove": 1}.items():
        _refuse_what_is_open(name, paths)


def _keep_os_of(*packages: str) -> None:
    """Give `packages` the full `os` of Linux."""
    whole = ModuleType("os")
    vars(whole).update(vars(os))
    for package in packages:
        importlib.import_module(package)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages and hasattr(module, "os"):
            module.os = whole  # type: ignore[attr-defined]  # as just seen


def _give_one_mode_to_all() -> None:
    real_open, real_mkdir = os.open, os.mkdir

    def opened(path: str, flags: int, _mode: int = 0, *, dir_fd: int | None = None) -> int:
        if str(path).endswith((".json", ".tmp")) and not flags & BINARY:
            raise OSError(errno.EINVAL, "line ends would be changed", path)
        return real_open(path, flags, 0o666, dir_fd=dir_fd)

    def made(path: str, _mode: int = 0, *, dir_fd: int | None = None) -> None:
        real_mkdir(path, 0o777, dir_fd=dir_fd)

    os.umask(0)
    os.open, os.mkdir = opened, made  # type: ignore[assignment]  # as it is called here


def _refuse_what_is_open(name: str, paths: int) -> None:
    """Make the function `name` of `os` fail for files that any process has open."""
    real: Callable[..., None] = getattr(os, name)

    def unless_open(*args: str, **options: int | None) -> None:
        for path in args[:paths]:
            if is_open(path):
                raise PermissionError(errno.EACCES, "another process has it open", path)
        real(*args, **options)

    setattr(os, name, unless_open)


def is_open(path: str | os.PathLike[str]) -> bool:
    """Whether any process has the file at `path` open."""
    return os.path.realpath(path) in set(_open_files())


def _open_files() -> Iterator[str]:
    for process in filter(str.isdigit, os.listdir("/proc")):
        # a process may have ended, or a descriptor been closed, meanwhile
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{process}/fd"):
                with contextlib.suppress(OSError):
                    yield os.readlink(f"/proc/{process}/fd/{descriptor}")
