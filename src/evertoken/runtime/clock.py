"""Two clocks read together, wall time and time since boot that no one can set; and a sleep."""

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
    """Both clocks, read through the `time` module at call time so that freezegun moves the wall."""
    return Instant(time.time(), _since_boot())


def since_boot() -> float:
    """Seconds since boot, suspension included where the system counts it."""
    return _since_boot()


def elapsed(start: Instant) -> Instant:
    """Now, as `start` moved on by the time since boot that has passed.

    A renewal runs in a thread, where freezegun shows the real wall time: the caller's reading
    travels with it and dates its token.
    """
    return start.after(_since_boot() - start.boot)


def sleep(seconds: float) -> None:
    """Let others go on; by `select` where it can wait for nothing but time.

    Under libfaketime `time.sleep` fails with EINVAL.
    """
    if os.name == "posix":
        select.select((), (), (), seconds)
    else:
        time.sleep(seconds)


@functools.cache
def boot_id() -> str | None:
    """Names this boot of this kernel and its time namespace; None where the system cannot say.

    Readings of the clock since boot compare only where it is the same.
    """
    try:
        # no "ascii": its codec would have to be loaded
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return f"{file.read().strip()}/{os.readlink('/proc/self/ns/time')}"
    except OSError:
        return None
