"""Scripts without a web server: `python -m support.host_script WHAT`."""

from __future__ import annotations

import atexit
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.host_call import Caller, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 9.0
"""Seconds that the callers work: a third token is due after 6.5 s."""

CALLERS = 4

PACE = 0.05
"""Seconds between two calls of a thread."""

WORK = 0.8
"""Seconds that a short script continues after its call: less than a grant takes."""

NO_LIMIT = 3
"""The exit status if threads can start despite the limit."""


def call_once(caller: Caller) -> None:
    """Make one call and do a little work, like a cron script."""
    caller.call()
    time.sleep(WORK)


def call_in_threads(caller: Caller) -> None:
    """Let threads keep calling after the main thread has ended."""
    for _ in range(CALLERS):
        threading.Thread(target=_call_for_long, args=(caller,)).start()


def call_at_exit(caller: Caller) -> None:
    """Let an exit handler keep calling after all threads have ended."""
    atexit.register(_call_for_long, caller)


def call_within_limit(limit: Callable[[], None]) -> None:
    """Let threads call, and make the manager, while no further thread can start."""
    limited = threading.Event()
    callers: list[Caller] = []

    def work() -> None:
        limited.wait()
        _call_for_long(callers[0])

    threads = [threading.Thread(target=work) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    limit()
    _insist_on_limit()
    callers.append(Caller(Settings.of_environment()))
    limited.set()
    for thread in threads:
        thread.join()


def limit_processes() -> None:
    """Allow this user no more threads, as with `ulimit -u`."""
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))


def limit_memory() -> None:
    """Leave no memory for the stack of another thread."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2**29
    threading.stack_size(2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _insist_on_limit() -> None:
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return
    # the other threads wait forever
    os._exit(NO_LIMIT)


def _call_for_long(caller: Caller) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        caller.call()
        time.sleep(PACE)


WAYS = {"once": call_once, "threads": call_in_threads, "atexit": call_at_exit}
LIMITS = {"processes": limit_processes, "memory": limit_memory}

if __name__ == "__main__":
    if sys.argv[1] in LIMITS:
        call_within_limit(LIMITS[sys.argv[1]])
    else:
        WAYS[sys.argv[1]](Caller(Settings.of_environment()))
