"""A process without a server around it: `python -m support.host_script WHAT`."""

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
"""How long the callers work: a third token is due after six and a half."""

CALLERS = 4

PACE = 0.05
"""Seconds between two calls of a thread."""

WORK = 0.8
"""Seconds that a short script goes on after its call: less than a grant takes."""

NO_LIMIT = 3
"""The exit status where a limit that was set lets threads start."""


def call_once(caller: Caller) -> None:
    """One call and a short piece of work, as a script of cron does."""
    caller.call()
    time.sleep(WORK)


def call_in_threads(caller: Caller) -> None:
    """Threads that go on calling while the main thread has ended."""
    for _ in range(CALLERS):
        threading.Thread(target=_call_for_long, args=(caller,)).start()


def call_at_exit(caller: Caller) -> None:
    """A handler that goes on calling when all threads have ended."""
    atexit.register(_call_for_long, caller)


def call_within_limit(limit: Callable[[], None]) -> None:
    """Threads that call where no more can start; the manager is made there too."""
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
    """No more threads for this user, as after `ulimit -u`."""
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))


def limit_memory() -> None:
    """No room for the stack of one more thread."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2**29
    threading.stack_size(2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _insist_on_limit() -> None:
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return
    # the others wait for ever
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
