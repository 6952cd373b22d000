"""Draws faults, and writes down which one was in force when and where."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.chaos.history import Fault, now

if TYPE_CHECKING:
    from benchmarks.chaos.faults import Faults
    from benchmarks.chaos.world import World

OLD_COPY = 10.0
"""Seconds between two copies of the files, which are restored later."""


def torment(
    world: World, faults: Faults, draw: random.Random, *, seconds: float, pace: float
) -> float:
    """Put faults into force for so many seconds, one every `pace` seconds on average.

    Returns:
        When the last one had ended.
    """
    end, copies = time.monotonic() + seconds, 0.0
    threads = []
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, draw.expovariate(1 / pace)))
        if time.monotonic() >= copies:
            faults.copy_files()
            copies = time.monotonic() + OLD_COPY
        kind, chance = draw.choice(sorted(faults.kinds)), random.Random(draw.random())  # noqa: S311  a plan that can be repeated
        threads.append(threading.Thread(target=_inflict, args=(world, faults, kind, chance)))
        threads[-1].start()
    faults.over.set()
    for thread in threads:
        thread.join()
    return now()


def _inflict(world: World, faults: Faults, kind: str, chance: random.Random) -> None:
    began = now()
    with faults.kinds[kind](chance) as places:
        if places:
            world.record(Fault(kind=kind, places=places, began=began, ended=now()))
