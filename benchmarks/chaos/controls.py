"""What the nemesis changes in the processes of a machine: its clock, its names, its threads.

A process reads them from a mapped file at each use. They simulate what cannot be done
for real to a single process: a step of its wall clock, a resolver without an answer, a limit of its
threads.
"""

from __future__ import annotations

import mmap
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "localhost"
"""The only name that processes resolve: the host of the token endpoints."""

_OFFSET = struct.Struct("d")
_NO_DNS, _NO_THREADS = _OFFSET.size, _OFFSET.size + 1
_SIZE = _OFFSET.size + 2


class Controls:
    """The switches of one machine, in a file that all of its processes map.

    Args:
        path: the file; it is made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SIZE)

    @property
    def ahead(self) -> float:
        """Seconds by which the machine's wall clock is ahead."""
        found: float = _OFFSET.unpack_from(self._page)[0]
        return found

    @ahead.setter
    def ahead(self, seconds: float) -> None:
        _OFFSET.pack_into(self._page, 0, seconds)

    @property
    def no_dns(self) -> bool:
        """Whether no name can be resolved."""
        return bool(self._page[_NO_DNS])

    @no_dns.setter
    def no_dns(self, value: bool) -> None:
        self._page[_NO_DNS] = value

    @property
    def no_threads(self) -> bool:
        """Whether no thread can be started."""
        return bool(self._page[_NO_THREADS])

    @no_threads.setter
    def no_threads(self, value: bool) -> None:
        self._page[_NO_THREADS] = value


def obey(controls: Controls, machine: str) -> None:
    """Put this process on `machine`, for good."""
    wall, resolve = time.time, socket.getaddrinfo
    time.time = lambda: wall() + controls.ahead
    setattr(clock, "boot_id", lambda: f"boot of {machine}")  # noqa: B010  not as a module has it

    def getaddrinfo(host: object, *args: object, **options: object) -> object:
        # an address needs no resolver
        if controls.no_dns and host == NAME:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve(host, *args, **options)  # type: ignore[arg-type]  # whatever it takes

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]  # the same but for its error
    for name in ("_start_new_thread", "_start_joinable_thread"):
        if start := getattr(threading, name, None):
            without = _failing(
                start,
                lambda: controls.no_threads,
                lambda: RuntimeError("can't start new thread"),
            )
            setattr(threading, name, without)


def _failing(
    call: Callable[..., object], now: Callable[[], bool], error: Callable[[], Exception]
) -> Callable[..., object]:
    def maybe(*args: object, **options: object) -> object:
        if now():
            raise error()
        return call(*args, **options)

    return maybe
