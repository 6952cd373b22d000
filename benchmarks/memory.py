"""Bytes per manager, with many identities in one process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.harness import alone, child
from benchmarks.report import Result, Table

if TYPE_CHECKING:
    from benchmarks.harness import Run

HOURS = 36000


def measure(run: Run) -> Result:
    """One process per peer: bytes are counted by `tracemalloc`, and hardly vary."""
    identities = run.pick(10, 100, 1000)
    found: dict[str, tuple[float, float]] = {}
    for name in run.renewing():
        site = run.site(run.peers[name], expires_in=HOURS)
        made, used = json.loads(child("weight", name, site, identities, timeout=300))
        found[name] = (made, used)
        asked = len(run.endpoint.ledger(site).grants)
        assert asked >= identities, f"{run.peers[name].title} made {asked} grants"
    titles = {name: run.peers[name].title for name in found}
    rows = [
        [titles[name], f"{made:.0f}", f"{used:.0f}"]
        for name, (made, used) in sorted(found.items(), key=lambda item: item[1][1])
    ]
    told = (
        f"Bytes that {identities} identities take in one process, each: as set up, and once it "
        "has its token."
    )
    table = Table("Bytes per manager", ["", "set up", "with its token"], rows)
    return Result("memory", told, [table], {"titles": titles, "bytes": found})


if __name__ == "__main__":
    alone("memory")
