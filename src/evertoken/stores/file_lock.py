"""A file lock between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import filelock

from evertoken.core.hold import Hold
from evertoken.runtime import clock
from evertoken.stores import private_files, private_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filelock import BaseFileLock

POLL = 0.02
"""Seconds between a waiter's tries. filelock's 0.05 would show in the slowest first call."""


@dataclass(slots=True, eq=False)
class FileLock:
    """An attempt to take a lock.

    Attributes:
        path: of the lock file.
        hold: the outcome; `ABSENT` if the file system does not support locks.
        descriptors: the open files that hold the lock.
    """

    path: str
    hold: Hold = Hold.ABSENT
    descriptors: list[int] = field(default_factory=list)

    def in_place(self) -> bool:
        """Whether the locked file is still the one at `path`, which others would lock."""
        try:
            there = os.stat(self.path, follow_symlinks=False)
            return any(os.path.samestat(os.fstat(each), there) for each in self.descriptors)
        except OSError:
            return False


@contextlib.contextmanager
def locked(
    path: str, *, timeout: float, note: Callable[[OSError | None], None]
) -> Iterator[FileLock]:
    """Hold the lock at `path`; its folder is created if missing.

    Args:
        path: of a file that is used only as a lock.
        timeout: seconds to wait while another process holds it.
        note: called with an error, or with None if the lock could be tried.
    """
    asked = FileLock(path)
    lock = None
    try:
        lock = _made(path, asked.descriptors)
        asked.hold = _acquired(lock, path, timeout)
        note(None)
    except OSError as error:
        note(error)
    try:
        yield asked
    finally:
        if lock is not None and (failure := _released(lock, asked.descriptors)) is not None:
            note(failure)


def _made(path: str, descriptors: list[int]) -> BaseFileLock:
    """A lock of the operating system; its open files are appended to `descriptors`."""
    if not (filelock.has_fcntl or sys.platform == "win32"):
        # filelock would use a soft lock, which a killed process leaves behind, and has no
        # descriptor
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), path)
    # the default falls back to a soft lock, which a killed process leaves behind
    return filelock.FileLock(
        path, mode=0o600, fallback_to_soft=False, on_acquired=descriptors.append
    )


def _acquired(lock: BaseFileLock, path: str, timeout: float) -> Hold:
    """Take `lock`, which is at `path`, within `timeout` seconds.

    Without filelock's own waiting: it uses `time.sleep`, which fails under libfaketime, and a held
    lock would look unsupported.
    """
    end = clock.since_boot() + timeout
    while True:
        # at each try: filelock would create a folder removed meanwhile, with the umask's mode
        private_folders.make(os.path.dirname(path))
        private_files.check_plain(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if (left := end - clock.since_boot()) <= 0:
                return Hold.BUSY
            clock.sleep(min(POLL, left))
        except FileExistsError:
            # From Python 3.14 on, pathlib takes an inaccessible folder for a file. `stat` raises
            # the real error, so that it is logged once, together with those of the other steps.
            os.stat(os.path.dirname(path))
            raise
        else:
            return Hold.HELD


def _released(lock: BaseFileLock, descriptors: list[int]) -> OSError | None:
    try:
        lock.release()
    except OSError as error:
        # filelock would keep the lock, and block other processes, until this one ends
        with contextlib.suppress(OSError):
            private_files.detach(*descriptors)
            lock.release()
        return error
    return None
