"""Calls from many threads at once, each waited for within bounds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 20.0
"""Seconds after which a thread that should have ended is taken for one that hangs."""


def in_threads(count: int, call: Callable[[], object]) -> list[object]:
    """What `call` returned, or raised, in so many threads that start together.

    Raises:
        TimeoutError: a thread hangs.
    """
    barrier = threading.Barrier(count)
    results: list[object] = []

    def run() -> None:
        barrier.wait(BOUND)
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001  it is the result
            results.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        if thread.is_alive():
            raise TimeoutError("a thread hangs")
    return results
