"""One segment: a world, a fleet, faults, a quiet time, and what the checker finds."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.chaos.checker import RECOVERY, check
from benchmarks.chaos.fleet import Fleet
from benchmarks.chaos.history import Fault, History, Leak, now, read
from benchmarks.chaos.kinds import ALL, BUSY, LONGEST_WAIT
from benchmarks.chaos.nemesis import inject_faults
from benchmarks.chaos.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from benchmarks.chaos.checker import Finding

WARM_UP = 6.0
"""Seconds before the first fault, in which all processes start."""

AT_THE_END = 9.0
"""Seconds in which all must be well."""

PACE = 2.0
"""Seconds between two faults on average."""

BEAT, LATE = 0.1, 0.3
"""Seconds between two beats of the harness, and by which one must be late to be noted."""

PROCESS_LIST_PAUSE = 5.0
"""Seconds between two looks at the list of processes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one segment came to.

    Attributes:
        began: on the clock of its history.
    """

    seed: int
    began: float
    history: History
    findings: list[Finding]


def run(seed: int, seconds: float, place: Path) -> Outcome:
    """Run a segment of about so many seconds, its quiet end included.

    Args:
        seed: for the schedule of faults; which process one hits also depends on which are alive.
        seconds: how long it lasts.
        place: an empty folder, in which the history and all outputs are left.
    """
    draw = random.Random(seed)  # noqa: S311  a plan that can be repeated
    quiet = LONGEST_WAIT + RECOVERY + AT_THE_END
    world = World(place, grace=draw.choice([0.0, 10.0]))
    began = now()
    with world.running(), Fleet(world) as fleet:
        with (
            _beating(world.record),
            _repeating(world.log_in_again, 0.2),
            _repeating(fleet.list_processes, PROCESS_LIST_PAUSE),
        ):
            time.sleep(WARM_UP)
            broken = max(1.0, seconds - WARM_UP - quiet)
            last = inject_faults(world, fleet, draw, seconds=broken, pace=PACE)
            time.sleep(quiet)
        setting = world.setting(last, fleet.names)
    found = leaks(world.outputs, world.secrets())
    history = History.of(setting, [*read(world.history), *found])
    return Outcome(seed, began, history, check(history))


@contextlib.contextmanager
def _beating(record: Callable[[Fault], None]) -> Iterator[None]:
    """Note when this process did not run in time: the workers may not have either."""
    last = now()

    def beat() -> None:
        nonlocal last
        came = now()
        if came - last > BEAT + LATE:
            record(Fault(kind=BUSY, places=(ALL,), began=last, ended=came))
        last = came

    with _repeating(beat, BEAT):
        yield


@contextlib.contextmanager
def _repeating(work: Callable[[], None], pause: float) -> Iterator[None]:
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(pause):
            work()

    with ThreadPoolExecutor(1) as pool:
        repeating = pool.submit(repeat)
        try:
            yield
        finally:
            over.set()
        repeating.result()


def leaks(folder: Path, secrets: Collection[str]) -> Iterator[Leak]:
    """The files in a folder, at any depth, that hold or are named after one of the secrets."""
    tokens = {it for it in secrets if re.fullmatch(r"\w{30}", it)}
    others = [it for it in secrets if it not in tokens]
    for path in sorted(folder.rglob("*")):
        text = str(path.relative_to(folder))
        if path.is_file():
            text += path.read_text("utf-8", errors="replace")
        # a search for each of thousands of tokens would take minutes
        words = re.findall(r"\w{30,}", text)
        parts = {word[at : at + 30] for word in words for at in range(len(word) - 29)}
        if parts & tokens or any(secret in text for secret in others):
            yield Leak(where=path.name)
