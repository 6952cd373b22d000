"""Folders that only their user can change: found, created, and checked before they are trusted."""

from __future__ import annotations

import itertools
import os
import stat
import sys
from pathlib import Path

_OWN = 0o700


class HomeUnknown(ValueError):
    """A path begins with `~`, and that home folder is not known; says the remedy."""


class UntrustedFolder(OSError):
    """Other users can replace what is in a folder; says its mode or owner, and the remedy."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path`, with a `~` at its beginning replaced by the home folder.

    Raises:
        HomeUnknown: HOME is not set, and the user has no passwd entry, as in many containers; or
            the user that is named after `~` does not exist.
    """
    given = Path(path)
    try:
        return given.expanduser()
    except RuntimeError:
        # what Python says names neither the path nor a remedy
        raise HomeUnknown(
            f"no home folder is known for {given.parts[0]} in {given}: set HOME, or give an "
            "absolute path"
        ) from None


def make(path: str | Path) -> None:
    """Create the folder `path` and its missing parents, each with mode 0700 whatever the umask.

    Folders that exist keep their mode. A folder that another process creates meanwhile is fine.

    Raises:
        OSError: a folder cannot be created, or something else has its name.
    """
    if os.path.isdir(path):
        return
    # `Path.mkdir(parents=True)` gives parents the mode that the umask leaves: 0777 for many daemons
    folder = Path(path)
    missing = itertools.takewhile(lambda level: not os.path.lexists(level), folder.parents)
    for level in (*reversed([*missing]), folder):
        _make_level(level)


def check(path: str | Path) -> None:
    """Make sure that only this user and root can change what is in the folder `path`.

    A link to the folder is followed. Nothing is checked on Windows, whose modes say nothing.

    Raises:
        FileNotFoundError: there is no such folder.
        UntrustedFolder: another user owns it, or others can write to it.
    """
    if sys.platform != "win32" and hasattr(os, "geteuid"):
        found, uid = os.stat(path), os.geteuid()
        if (reason := distrusted(found, uid=uid, gid=os.getegid())) is not None:
            raise UntrustedFolder(f"{reason}: {_remedy(found, path, uid)}")


def distrusted(found: os.stat_result, *, uid: int, gid: int) -> str | None:
    """Why the user `uid` with the primary group `gid` does not trust a folder; None: it is trusted.

    Write access of `gid` itself is accepted: where each user has a group of their own, folders are
    often created with mode 0775, and some container platforms give a process no other access.
    The sticky bit changes nothing: it keeps others from removing files, not from adding them.
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
    import shlex  # noqa: PLC0415  it costs every start a millisecond, and few ever need it

    if found.st_uid not in {uid, 0}:
        return "choose a folder of your own"
    # one that is shared on purpose, such as /tmp, must stay writable
    if found.st_uid != uid or found.st_mode & stat.S_ISVTX:
        return "choose a new folder inside it"
    return f"run `chmod go-w {shlex.quote(str(path))}` or choose another folder"


def _make_level(path: Path) -> None:
    try:
        os.mkdir(path, _OWN)
    except FileExistsError:
        # another process was faster, or something else has this name; a disk that fails says so
        # here, where `isdir` would call it a file
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise
        return
    # a umask such as 0277 removes permissions that the owner needs, too
    if os.lstat(path).st_mode & _OWN != _OWN:
        os.chmod(path, _OWN)
