"""A lock on a file, between processes."""

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
"""Seconds between tries of a waiter; filelock's own 0.05 shows in the slowest first call."""


@dataclass(slots=True, eq=False)
class FileLock:
    """A lock that was asked for.

    Attributes:
        path: of the lock file.
        hold: what came of it; `ABSENT` if the file system offers no lock.
        descriptors: what the lock hangs on.
    """

    path: str
    hold: Hold = Hold.ABSENT
    descriptors: list[int] = field(default_factory=list)

    def in_place(self) -> bool:
        """Whether the file that was locked is still the one that others would lock."""
        try:
            there = os.stat(self.path, follow_symlinks=False)
            return any(os.path.samestat(os.fstat(each), there) for each in self.descriptors)
        except OSError:
            return False


@contextlib.contextmanager
def locked(
    path: str, *, timeout: float, note: Callable[[OSError | None], None]
) -> Iterator[FileLock]:
    """Hold the lock at `path`, whose folder is made if it is missing.

    Args:
        path: of a file that is there for its lock alone.
        timeout: seconds to wait for another process that holds it.
        note: told what fails, and None where the lock could be asked.
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
    """A lock of the system's; what it hangs on is appended to `descriptors`."""
    if not (filelock.has_fcntl or sys.platform == "win32"):
        # filelock would take a soft lock, which outlives a killed holder and has no descriptor
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), path)
    # by default it falls back to a lock that outlives a killed holder
    return filelock.FileLock(
        path, mode=0o600, fallback_to_soft=False, on_acquired=descriptors.append
    )


def _acquired(lock: BaseFileLock, path: str, timeout: float) -> Hold:
    """Take `lock`, which is at `path`, within `timeout` seconds.

    Not by its own waiting, which is by `time.sleep`: under libfaketime that fails, and a lock that
    is held would look like none.
    """
    end = clock.since_boot() + timeout
    while True:
        # at each try: filelock creates a folder that was removed meanwhile with the umask's mode
        private_folders.make(os.path.dirname(path))
        private_files.check_plain(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if (left := end - clock.since_boot()) <= 0:
                return Hold.BUSY
            clock.sleep(min(POLL, left))
        except FileExistsError:
            # From Python 3.14 on, pathlib takes a folder that it cannot look at for a file. The
            # reason is that of the other steps, and is said once with theirs.
            os.stat(os.path.dirname(path))
            raise
        else:
            return Hold.HELD


def _released(lock: BaseFileLock, descriptors: list[int]) -> OSError | None:
    try:
        lock.release()
    except OSError as error:
        # filelock would keep it, and with it all others from renewing, until this process ends
        with contextlib.suppress(OSError):
            private_files.let_go(*descriptors)
            lock.release()
        return error
    return None
