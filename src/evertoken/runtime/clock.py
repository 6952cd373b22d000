"""The wall clock and the clock since boot, which nobody can set, and a sleep."""

from __future__ import annotations

import functools
import os
import select
import sys
import time
from typing import TYPE_CHECKING

from evertoken.core.instant import Instant

if TYPE_CHECKING:
    from collections.abc import Callable


def _boot_reader() -> Callable[[], float]:
    # Bound inside a partial: freezegun replaces module attributes that are time.monotonic, and a
    # frozen clock since boot would hide how long a renewal really took.
    if sys.platform != "win32" and hasattr(time, "CLOCK_BOOTTIME"):
        return functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return functools.partial(time.monotonic)


_since_boot = _boot_reader()


def now() -> Instant:
    """Both clocks; `time.time` is looked up at each call so that freezegun can move it."""
    return Instant(time.time(), _since_boot())


def since_boot() -> float:
    """Seconds since boot, including suspension if the system counts it."""
    return _since_boot()


def elapsed(start: Instant) -> Instant:
    """`start` moved forward by the time that has passed on the clock since boot.

    A renewal runs in a pool thread, where freezegun shows the real wall time, so it counts from the
    reading of its caller.
    """
    return start.after(_since_boot() - start.boot)


def sleep(seconds: float) -> None:
    """Sleep for `seconds`.

    With `select` on POSIX: under libfaketime `time.sleep` fails with EINVAL.
    """
    if os.name == "posix":
        select.select((), (), (), seconds)
    else:
        time.sleep(seconds)


@functools.cache
def boot_id() -> str | None:
    """Identifies this boot of the kernel and the time namespace; None if the system does not tell.

    Readings of the clock since boot are comparable only within one boot id.
    """
    try:
        # not "ascii", whose codec would have to be loaded
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return f"{file.read().strip()}/{os.readlink('/proc/self/ns/time')}"
    except OSError:
        return None
