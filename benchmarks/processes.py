"""Grants per lifetime of 1 to 64 processes that share what each library persists."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.harness import alone, child
from benchmarks.report import Result, Table, spread

if TYPE_CHECKING:
    from benchmarks.harness import Run

LATENCY = 0.1
PERIOD = 2
SAME = 0.6
"""Grants that are closer than this share of a period are of the same lifetime."""
REFERENCE = "by_hand"
"""Stands for all that share nothing."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a fleet asked."""

    grants: int
    lifetimes: int
    failed: int


def measure(run: Run) -> Result:
    """Each count of processes, each peer in turn."""
    counts: tuple[int, ...] = run.pick((1, 4), (1, 16), (1, 4, 16, 64))
    names = [n for n in run.renewing() if n == REFERENCE or not run.peers[n].unable_to_share]
    fleets: dict[tuple[str, int], list[Fleet]] = {(n, c): [] for n in names for c in counts}
    for _ in range(run.pick(1, 1, 2)):
        trials = [(name, count) for count in counts for name in run.shuffled(names)]
        # what counts is how often, not how fast: where time is short they go at once
        with ThreadPoolExecutor(run.pick(len(trials), 2, 1)) as pool:
            for trial, fleet in zip(
                trials, pool.map(lambda one: _fleet(run, *one), trials), strict=True
            ):
                fleets[trial].append(fleet)
    titles = {name: peer.title for name, peer in run.peers.items()}
    data: dict[str, object] = {"titles": titles, "counts": counts}
    data["grants per lifetime"] = {
        name: [[f.grants / f.lifetimes for f in fleets[name, c]] for c in counts] for name in names
    }
    data["failed"] = {name: [[f.failed for f in fleets[name, c]] for c in counts] for name in names}
    return Result("processes", TOLD, [_table(run, names, counts, fleets)], data)


TOLD = (
    "Grants per lifetime of the token, of processes that start together and sign every 50 ms, the "
    f"token endpoint taking {LATENCY * 1000:.0f} ms; and how it grows: the exponent of a power of "
    "the number of processes (0: not at all, 1: as they do). Workers are forked before the peer "
    "is set up."
)


def _fleet(run: Run, name: str, count: int) -> Fleet:
    peer = run.peers[name]
    lifetimes = run.pick(2, 2, 3)
    seconds = (lifetimes - 0.4) * PERIOD
    site = run.site(peer, expires_in=peer.lifetime(PERIOD), delay=LATENCY)
    failed = int(child("fleet", name, site, count, seconds, timeout=300))
    issued = [moment for _, moment, _ in run.endpoint.ledger(site).grants]
    lifetimes = _lifetimes(issued)
    assert lifetimes > 1, f"{peer.title} has not renewed: granted at {issued}"
    return Fleet(len(issued), lifetimes, failed)


def _lifetimes(issued: list[float]) -> int:
    """How many there were, by the grants of whoever was first in each."""
    first, count = -math.inf, 0
    for moment in sorted(issued):
        if moment > first + SAME * PERIOD:
            first, count = moment, count + 1
    return count


def _growth(fleets: dict[tuple[str, int], list[Fleet]], name: str, counts: tuple[int, ...]) -> str:
    def mean(count: int) -> float:
        found = fleets[name, count]
        return sum(f.grants / f.lifetimes for f in found) / len(found)

    few, many = counts[0], counts[-1]
    return f"{math.log(mean(many) / mean(few)) / math.log(many / few):.2f}"


def _table(
    run: Run,
    names: list[str],
    counts: tuple[int, ...],
    fleets: dict[tuple[str, int], list[Fleet]],
) -> Table:
    rows: list[list[str]] = []
    for name, peer in run.peers.items():
        if name not in names:
            rows.append([peer.title, peer.unable_to_renew or peer.unable_to_share])
            continue
        cells = [spread([f.grants / f.lifetimes for f in fleets[name, c]], ".1f") for c in counts]
        failed = sum(f.failed for c in counts for f in fleets[name, c])
        growth = _growth(fleets, name, counts)
        rows.append([peer.title, *cells, growth, str(failed)])
    columns = ["", *(f"{c} processes" for c in counts), "growth", "failed calls"]
    return Table("Grants per lifetime", columns, rows)


if __name__ == "__main__":
    alone("processes")
