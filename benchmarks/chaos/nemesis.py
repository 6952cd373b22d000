"""Draws faults, and writes down which one was in force when and where."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.chaos.faults import Faults, Patience
from benchmarks.chaos.file_faults import FileFaults
from benchmarks.chaos.history import Fault, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.chaos.faults import Effect
    from benchmarks.chaos.fleet import Fleet
    from benchmarks.chaos.world import World

MOST = 64
"""Faults in force at once."""

OLD_COPY = 10.0
"""Seconds between two copies of the files, which are restored later."""


def inject_faults(
    world: World, fleet: Fleet, draw: random.Random, *, seconds: float, pace: float
) -> float:
    """Put faults into force for so many seconds, one every `pace` seconds on average.

    Returns:
        When the last one had ended.

    Raises:
        ExceptionGroup: faults could not be put into force, or undone.
    """
    patience = Patience()
    files = FileFaults(world, patience)
    kinds = Faults(world, fleet, patience).kinds | files.kinds
    end, copies = time.monotonic() + seconds, 0.0
    with ThreadPoolExecutor(MOST) as pool:
        try:
            futures = []
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, draw.expovariate(1 / pace)))
                if time.monotonic() >= copies:
                    files.copy_files()
                    copies = time.monotonic() + OLD_COPY
                kind = draw.choice(sorted(kinds))
                # the fault's own, so that the plan does not depend on what others draw meanwhile
                chance = random.Random(draw.random())  # noqa: S311  a plan that can be repeated
                futures.append(pool.submit(_inject, world, kind, kinds[kind], chance))
        finally:
            patience.over.set()
    if errors := [error for it in futures if isinstance(error := it.exception(), Exception)]:
        raise ExceptionGroup("faults could not be put into force, or undone", errors)
    return now()


def _inject(
    world: World, kind: str, fault: Callable[[random.Random], Effect | None], chance: random.Random
) -> None:
    began = now()
    if effect := fault(chance):
        began = began if effect.since is None else effect.since
        world.record(Fault(kind=kind, places=effect.places, began=began, ended=now()))
