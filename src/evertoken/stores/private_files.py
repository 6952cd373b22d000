"""File operations that follow no links, do not block and never leave a half-written file.

Each operation that reads or creates a file first checks that its folder is trusted
(`private_folders`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from typing import TYPE_CHECKING

from evertoken.runtime import clock
from evertoken.stores import private_folders
from evertoken.stores.record import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

# Windows lacks these flags: links need a privilege there, and there are no FIFOs. Only Windows has
# O_BINARY, without which it translates line ends.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)

_OWN = 0o600

_SHARED_DRAFT = re.compile(r"[0-9a-f]+\.[0-9]+-[0-9a-f]+\.tmp")

ABANDONED = 3600.0
"""Seconds after which a draft is assumed to be left by a killed process."""

BUSY_TRIES, BUSY_WAIT = 10, 0.02
"""How often, and how many seconds apart, the replacement of an open file is tried on Windows."""


class Untrusted(OSError):
    """The file at a path is not a private regular file of this user."""


Signature = tuple[int, ...]
"""Changes whenever a file is replaced or written, or its mode or owner changes."""


def signature(path: str) -> Signature:
    """The signature of the file at `path`; links are not followed.

    Raises:
        FileNotFoundError: there is no file.
        Untrusted: it is not a private regular file, or it is too large.
        UntrustedFolder: others can change its folder.
    """
    private_folders.check(os.path.dirname(path))
    return _checked(os.stat(path, follow_symlinks=False), path)


def check_plain(path: str) -> None:
    """Make sure that a lock may be taken on `path`.

    Raises:
        FileNotFoundError: there is no folder for it.
        Untrusted: it exists and is not a regular file of this user.
        UntrustedFolder: others can change its folder.
    """
    private_folders.check(os.path.dirname(path))
    with contextlib.suppress(FileNotFoundError):
        _check_plain(os.stat(path, follow_symlinks=False), path)


def read(path: str) -> tuple[Signature, bytes]:
    """Read the whole file and check that very file. Raises like `signature`."""
    private_folders.check(os.path.dirname(path))
    # without O_NONBLOCK, opening a FIFO would wait for a writer
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT)
    try:
        found = _checked(os.fstat(descriptor), path)
        return found, b"".join(_chunks(descriptor))
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes, *, alone: bool = False) -> None:
    """Write `data` to `path` atomically, with mode 0600.

    Args:
        path: of the file.
        data: its new content.
        alone: whether no other process may write `path` now. The draft then has a fixed name, so
            that the next writer finds and removes the draft of a killed one without listing the
            folder, which may hold thousands of files.

    Raises:
        UntrustedFolder: others can change its folder.
        OSError: nothing was changed.
    """
    # A folder that cannot be created fails here as for the lock: the same cause, logged once.
    private_folders.make(os.path.dirname(path))
    private_folders.check(os.path.dirname(path))
    stem, _ = os.path.splitext(path)
    draft = f"{stem}.tmp" if alone else f"{stem}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    if alone:
        _remove(draft)
    try:
        _check_own(draft, _write(draft, data))
        _put_in_place(draft, path)
    except BaseException:
        _remove(draft)
        raise


def remove_abandoned_drafts(folder: str) -> None:
    """Remove drafts in `folder` left by processes that were killed while they had no lock.

    Not for each write: it lists the folder, which may hold thousands of files.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        # on the file system's own clock, which may be a file server's
        latest = os.stat(folder).st_mtime - ABANDONED
        for draft in found:
            if _SHARED_DRAFT.fullmatch(draft.name) and draft.stat().st_mtime < latest:
                _remove(draft.path)


def restore_mode(descriptor: int) -> None:
    """Restore the owner's access to a new file, which a umask such as 0777 removes."""
    if os.fstat(descriptor).st_mode & _OWN != _OWN and hasattr(os, "fchmod"):
        os.fchmod(descriptor, _OWN)


def others_can_write(found: os.stat_result) -> bool:
    """Whether users other than this one and root can write to a file; False on Windows."""
    if not hasattr(os, "geteuid"):
        return False
    foreign = found.st_uid not in {os.geteuid(), 0}
    return foreign or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def detach(*descriptors: int) -> None:
    """Point `descriptors` at the null device, which releases their locks; they stay open."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


def _put_in_place(draft: str, path: str) -> None:
    for _ in range(BUSY_TRIES - 1):
        # a sibling has the file open only while it reads it
        with contextlib.suppress(PermissionError):
            os.replace(draft, path)
            return
        clock.sleep(BUSY_WAIT)
    os.replace(draft, path)


def _remove(draft: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(draft)


def _check_own(draft: str, written: os.stat_result) -> None:
    # if the lock file was removed, another process may hold a new lock and write this draft too
    if not os.path.samestat(os.stat(draft, follow_symlinks=False), written):
        raise OSError(errno.EBUSY, "another process writes the same draft", draft)


def _write(path: str, data: bytes) -> os.stat_result:
    """Write a new file; returns its `stat`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
    descriptor = os.open(path, flags, _OWN)
    try:
        restore_mode(descriptor)
        rest = memoryview(data)
        while rest:
            # a full disk may write only a part, or nothing, each time
            if not (taken := os.write(descriptor, rest)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rest = rest[taken:]
        os.fsync(descriptor)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _chunks(descriptor: int) -> Iterator[bytes]:
    left = MAX_BYTES
    while left > 0 and (chunk := os.read(descriptor, left)):
        left -= len(chunk)
        yield chunk


def _check_plain(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Untrusted(f"{path} is not a regular file")
    # zero links: a sibling replaced the file after it was opened here
    if found.st_nlink > 1:
        raise Untrusted(f"{path} has another name too (a hard link)")
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise Untrusted(f"{path} belongs to another user")


def _checked(found: os.stat_result, path: str) -> Signature:
    _check_plain(found, path)
    # on Windows the mode is made up: 0666 for a file of this user
    if hasattr(os, "geteuid") and stat.S_IMODE(found.st_mode) & 0o077:
        raise Untrusted(f"{path} is accessible to others (mode {stat.S_IMODE(found.st_mode):04o})")
    if found.st_size > MAX_BYTES:
        raise Untrusted(f"{path} is larger than {MAX_BYTES} bytes")
    return (
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )
