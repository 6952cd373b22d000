"""File calls that fail on demand, for paths inside one folder."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOMES = {"flock": fcntl}
"""The module of a call, if not `os`."""

CALLS = [
    "open",
    "write",
    "fsync",
    "replace",
    "close",
    "stat",
    "fstat",
    "read",
    "unlink",
    "mkdir",
    "fchmod",
    "flock",
]

ERRNOS = [
    *(errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE),
    *(errno.EPERM, errno.ENFILE, errno.ENOMEM, errno.EFBIG, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.EINVAL, errno.ENOTSUP, errno.EBUSY, errno.ENODEV),
]


@dataclass
class Fault:
    """A fault of one call: from its `first` use in the folder on, once or always.

    Attributes:
        seen: the number of calls there.
        failed: the number of failures.
    """

    call: str
    folder: Path
    number: int = errno.EIO
    first: int = 0
    sticky: bool = False
    seen: int = 0
    failed: int = 0

    def hits(self, args: tuple[object, ...]) -> bool:
        """Whether this call fails."""
        if not _concerns(args[0] if args else None, self.folder):
            return False
        self.seen += 1
        hit = self.seen > self.first if self.sticky else self.seen == self.first + 1
        self.failed += hit
        return hit


@contextmanager
def injected(
    fault: Fault,
    instead: Callable[[Callable[..., object], tuple[object, ...]], object] | None = None,
) -> Iterator[Fault]:
    """Inject the fault into the block; `instead` replaces the exception."""
    home = HOMES.get(fault.call, os)
    real = getattr(home, fault.call)

    def faulty(*args: object, **kwargs: object) -> object:
        if not fault.hits(args):
            return real(*args, **kwargs)
        if instead is not None:
            return instead(real, args)
        if fault.call == "close":
            # as on Linux: the descriptor is closed even if close() raises
            real(*args)
        raise OSError(fault.number, os.strerror(fault.number))

    setattr(home, fault.call, faulty)
    try:
        yield fault
    finally:
        setattr(home, fault.call, real)


def _concerns(target: object, folder: Path) -> bool:
    if isinstance(target, int):
        try:
            target = os.readlink(f"/proc/self/fd/{target}")
        except OSError:
            return False
    return isinstance(target, str | os.PathLike) and os.fspath(target).startswith(str(folder))


def descriptors(folder: Path) -> list[str]:
    """The files that this process has open inside the folder."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return [path for path in found if path.startswith(str(folder))]
