"""Finds, creates and checks folders that only their user can change."""

from __future__ import annotations

import itertools
import os
import stat
import sys
from pathlib import Path

_OWN = 0o700


class HomeUnknown(ValueError):
    """A path begins with `~`, and that home folder is unknown. The message names the remedy."""


class UntrustedFolder(OSError):
    """Other users can change a folder. The message names its mode or owner, and the remedy."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with a leading `~` replaced by the home folder.

    Raises:
        HomeUnknown: HOME is not set and the user has no passwd entry, as in many containers; or the
            user named after `~` does not exist.
    """
    given = Path(path)
    try:
        return given.expanduser()
    except RuntimeError:
        # Python's message names neither the path nor a remedy
        raise HomeUnknown(
            f"no home folder is known for {given.parts[0]} in {given}: set HOME, or give an "
            "absolute path"
        ) from None


def make(path: str | Path) -> None:
    """Create the folder `path` and its missing parents with mode 0700, whatever the umask.

    Existing folders keep their mode. Another process may create the same folders at the same time.

    Raises:
        OSError: a folder cannot be created, or a file has its name.
    """
    if os.path.isdir(path):
        return
    # `Path.mkdir(parents=True)` gives parents the mode that the umask leaves: 0777 for many daemons
    folder = Path(path)
    missing = itertools.takewhile(lambda level: not os.path.lexists(level), folder.parents)
    for level in (*reversed([*missing]), folder):
        _make_level(level)


def check(path: str | Path) -> None:
    """Check that only this user and root can change the contents of the folder `path`.

    A link to the folder is followed. Nothing is checked on Windows, where modes mean nothing.

    Raises:
        FileNotFoundError: there is no such folder.
        UntrustedFolder: another user owns it, or others can write to it.
    """
    if sys.platform != "win32" and hasattr(os, "geteuid"):
        found, uid = os.stat(path), os.geteuid()
        if (reason := distrusted(found, uid=uid, gid=os.getegid())) is not None:
            raise UntrustedFolder(f"{reason}: {_remedy(found, path, uid)}")


def distrusted(found: os.stat_result, *, uid: int, gid: int) -> str | None:
    """Why the user `uid` with primary group `gid` does not trust a folder; None if it is trusted.

    Write access for `gid` itself is accepted: if each user has their own group, folders are often
    created with mode 0775, and some container platforms give a process no other access. The sticky
    bit makes no difference: it prevents others from removing files, but not from adding them.
    """
    mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
    if found.st_uid not in {uid, 0}:
        return f"this folder belongs to another user (uid {found.st_uid})"
    if found.st_mode & stat.S_IWOTH:
        return f"everyone can write to this folder ({mode})"
    if found.st_mode & stat.S_IWGRP and found.st_gid != gid:
        return f"the group {found.st_gid} can write to this folder ({mode})"
    return None


def _remedy(found: os.stat_result, path: str | Path, uid: int) -> str:
    import shlex  # noqa: PLC0415  it takes a millisecond, and is rarely needed

    if found.st_uid not in {uid, 0}:
        return "choose a folder of your own"
    # a folder that is shared on purpose, such as /tmp, must stay writable
    if found.st_uid != uid or found.st_mode & stat.S_ISVTX:
        return "choose a new folder inside it"
    return f"run `chmod go-w {shlex.quote(str(path))}` or choose another folder"


def _make_level(path: Path) -> None:
    try:
        os.mkdir(path, _OWN)
    except FileExistsError:
        # Another process was faster, or a file has this name. `stat` raises the error of a failing
        # disk, which `isdir` would hide.
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise
        return
    # a umask such as 0277 also removes permissions of the owner
    if os.lstat(path).st_mode & _OWN != _OWN:
        os.chmod(path, _OWN)
