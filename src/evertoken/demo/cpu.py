"""How long threads of this process were ready to run but had no CPU, by the kernel's account.

The account is independent of the library: a thread that sleeps, or waits for a lock or a socket, is
not ready to run and adds nothing to it, nor does a thread that computes. Only Linux keeps it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TASKS = Path("/proc/self/task")


def delays() -> dict[str, float]:
    """Seconds that each thread has been kept from a CPU so far; empty on other systems."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError):
        for task in _TASKS.iterdir():
            # a thread may end while its number is on the list
            with contextlib.suppress(OSError):
                # nanoseconds on a CPU, nanoseconds in a queue for one, turns on a CPU
                _, queued, _ = (task / "schedstat").read_text().split()
                found[task.name] = int(queued) / 1e9
    return found


def delayed_since(before: Mapping[str, float]) -> float:
    """Seconds that all threads together were kept from a CPU since `delays()` gave `before`.

    All of them, because a call also waits for the thread that it starts, and for one that lost its
    CPU while it held a lock.
    """
    return sum(max(0.0, now - before.get(thread, 0.0)) for thread, now in delays().items())
