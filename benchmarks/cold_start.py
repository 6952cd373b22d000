"""A fresh process until its first header, from a warm cache, and what the import costs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.harness import ENVIRONMENT, alone, child
from benchmarks.peers.registry import FLOOR
from benchmarks.report import Result, Table

if TYPE_CHECKING:
    from benchmarks.harness import Run

HOURS = 36000
TIMED = "import time; a = time.perf_counter(); {}; print(time.perf_counter() - a)"
LAZY = "import evertoken"


def measure(run: Run) -> Result:
    """Rounds of fresh processes in shuffled order."""
    names = [n for n, peer in run.peers.items() if n == FLOOR or not peer.unable_to_share]
    sites = {name: run.site(run.peers[name], expires_in=HOURS) for name in names}
    for name in names:
        child("first_header", name, sites[name])  # fills the cache
    warm: dict[str, list[float]] = {name: [] for name in names}
    statements = {name: peer.statement for name, peer in run.peers.items()}
    statements["lazy"] = LAZY
    imports: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(run.pick(1, 3, 41)):
        for name in run.shuffled(names):
            start = time.monotonic()
            warm[name].append(float(child("first_header", name, sites[name])) - start)
        for name in run.shuffled(list(statements)):
            imports[name].append(_import(statements[name]))
    for name in names:
        asked = run.endpoint.ledger(sites[name]).requests
        assert asked == 1, f"{run.peers[name].title} found no warm cache: {asked} requests"
    titles = {name: peer.title for name, peer in run.peers.items()} | {"lazy": LAZY}
    tables = [_warm_table(run, titles, warm), _import_table(titles, imports)]
    return Result("cold_start", TOLD, tables, {"warm": warm, "imports": imports, "titles": titles})


TOLD = (
    "Milliseconds from the start of a process until its first signed request, its token in a file "
    "from before; the floor reads a JSON file and uses requests. Then the import alone, timed "
    "inside of the process, beside `import requests`. Medians of shuffled rounds, with the middle "
    "half in brackets; a ratio is the median of what each round says."
)


def _import(statement: str) -> float:
    command = [sys.executable, "-c", TIMED.format(statement)]
    # the statements of the peers
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, check=True, timeout=60, env=ENVIRONMENT
    )
    return float(done.stdout)


def milliseconds(values: list[float]) -> str:
    """The median of `values`, in seconds, and the middle half of them."""
    middle = f"{1000 * statistics.median(values):.0f}"
    if len(values) < 4:
        return middle
    low, _, high = statistics.quantiles(values, n=4)
    return f"{middle} [{1000 * low:.0f}-{1000 * high:.0f}]"


def ratio(values: list[float], floor: list[float]) -> str:
    """The median of what each round says, since the machine is slow at times."""
    ratios = [mine / theirs for mine, theirs in zip(values, floor, strict=True)]
    return f"{statistics.median(ratios):.2f}"


def _warm_table(run: Run, titles: dict[str, str], warm: dict[str, list[float]]) -> Table:
    rows = [
        [titles[name], milliseconds(warm[name]), ratio(warm[name], warm[FLOOR])]
        if name in warm
        else [titles[name], peer.unable_to_share]
        for name, peer in run.peers.items()
    ]
    return Table("A fresh process until its first header", ["", "ms", "ratio"], rows)


def _import_table(titles: dict[str, str], imports: dict[str, list[float]]) -> Table:
    rows = [
        [titles[name], milliseconds(found), ratio(found, imports[FLOOR])]
        for name, found in sorted(imports.items(), key=lambda item: statistics.median(item[1]))
    ]
    return Table("Import", ["", "ms", "ratio to requests"], rows)


if __name__ == "__main__":
    alone("cold_start")
