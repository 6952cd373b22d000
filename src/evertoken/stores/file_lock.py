"""A lock on a file, between processes: had, busy, or not to be had on this file system."""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING

import filelock

from evertoken import clock
from evertoken.stores import private_files, private_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

POLL = 0.02
"""Seconds between tries of a waiter; filelock's own 0.05 shows in the slowest first call."""


class Hold(enum.Enum):
    """What came of asking for a lock."""

    HELD = "held"
    BUSY = "another process holds it"
    ABSENT = "the file system offers none"


@contextlib.contextmanager
def locked(path: Path, *, timeout: float, note: Callable[[OSError | None], None]) -> Iterator[Hold]:
    """Hold the lock at `path`, whose folder is made if it is missing.

    Args:
        path: of a file that is there for its lock alone.
        timeout: seconds to wait for another process that holds it.
        note: told what fails, and None where the lock could be asked.
    """
    lock = None
    hold = Hold.ABSENT
    descriptors: list[int] = []
    try:
        # by default it falls back to a lock that outlives a killed holder
        lock = filelock.FileLock(
            path, mode=0o600, fallback_to_soft=False, on_acquired=descriptors.append
        )
        hold = _acquired(lock, path, timeout)
        note(None)
    except OSError as error:
        note(error)
    try:
        yield hold
    finally:
        if lock is not None and (failure := _released(lock, descriptors)) is not None:
            note(failure)


def _acquired(lock: BaseFileLock, path: Path, timeout: float) -> Hold:
    """Take `lock`, which is at `path`, within `timeout` seconds.

    Not by its own waiting, which is by `time.sleep`: under libfaketime that fails, and a lock that
    is held would look like none.
    """
    end = clock.since_boot() + timeout
    while True:
        # at each try: filelock creates a folder that was removed meanwhile with the umask's mode
        private_folders.make(path.parent)
        private_files.check_plain(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if (left := end - clock.since_boot()) <= 0:
                return Hold.BUSY
            clock.sleep(min(POLL, left))
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
