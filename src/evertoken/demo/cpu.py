"""Measures how long threads of this process were ready to run but had no CPU.

The kernel counts it, independently of the library. A thread that computes, sleeps, or waits for a
lock or a socket adds nothing. Only Linux has this count.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TASKS = Path("/proc/self/task")


def delays() -> dict[str, float]:
    """Seconds that each thread has waited for a CPU so far; empty on other systems."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError):
        for task in _TASKS.iterdir():
            # a thread may end while the list is read
            with contextlib.suppress(OSError):
                # nanoseconds on a CPU, nanoseconds waiting for one, number of time slices
                _, queued, _ = (task / "schedstat").read_text().split()
                found[task.name] = int(queued) / 1e9
    return found


def delayed_since(before: Mapping[str, float]) -> float:
    """Seconds that all threads together have waited for a CPU since `before`.

    All threads count, because a call also waits for threads that it starts, and for a thread that
    loses its CPU while it holds a lock.
    """
    return sum(max(0.0, now - before.get(thread, 0.0)) for thread, now in delays().items())
