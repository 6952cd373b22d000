"""The token endpoint is down while a live token is due for renewal: who fails, who hammers it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.calls import paced
from benchmarks.harness import alone, prepared
from benchmarks.report import Result, Table, spread

if TYPE_CHECKING:
    from benchmarks.harness import Run
    from benchmarks.peers.peer import Peer, Site

PERIOD = 4
SHORTEST = 6
"""Seconds that a token lives at least: who has no margin has one of this lifetime."""

DOWN = (2.6, 4.8)
"""Seconds after the first token between which it answers 503; some count in whole seconds."""

UNTIL = 7.0
PACE = 0.02


@dataclass(frozen=True, slots=True)
class Trial:
    """One peer through the outage."""

    calls: int
    failed: int
    refused: int
    asked: int
    grants: int


def measure(run: Run) -> Result:
    """All peers live through it at the same time: what counts is how often, not how fast."""
    names = run.renewing()
    trials: dict[str, list[Trial]] = {name: [] for name in names}
    for _ in range(run.pick(1, 1, 3)):
        with ThreadPoolExecutor(len(names)) as pool:
            for name, found in zip(
                names, pool.map(lambda n: _trial(run, run.peers[n]), names), strict=True
            ):
                trials[name].append(found)
    titles = {name: run.peers[name].title for name in names}
    rows = [
        [
            titles[name],
            spread([float(t.calls) for t in found]),
            spread([float(t.failed) for t in found]),
            spread([float(t.refused) for t in found]),
            spread([float(t.asked) for t in found]),
        ]
        for name, found in trials.items()
    ]
    columns = ["", "calls", "failed calls", "401s", "requests while down"]
    fields = ("calls", "failed", "refused", "asked", "grants")
    data = {n: [{f: getattr(t, f) for f in fields} for t in found] for n, found in trials.items()}
    return Result("outage", TOLD, [Table("Outage", columns, rows)], {"titles": titles, **data})


TOLD = (
    f"The token endpoint answers 503 for {DOWN[1] - DOWN[0]:.1f} s and is back before the token "
    f"ends; one call every {PACE * 1000:.0f} ms. The token lives {SHORTEST} s, or as much longer "
    "as the peer's margin needs."
)


def _trial(run: Run, peer: Peer) -> Trial:
    site = run.site(peer, expires_in=max(SHORTEST, peer.lifetime(PERIOD)))
    auth = peer.open(site)
    auth(prepared())
    start = run.endpoint.ledger(site).grants[0][1]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_switch, run, site, start)
        calls = paced(auth, PACE, start + UNTIL)
    ledger = run.endpoint.ledger(site)
    failed = sum(call.failed for call in calls)
    refused = sum(not c.failed and ledger.dead(c.header, c.moment) for c in calls)
    # one that backs off for a minute has at least tried
    assert ledger.requests > 1, f"{peer.title} has not tried to renew"
    return Trial(len(calls), failed, refused, asked.result(), len(ledger.grants))


def _switch(run: Run, site: Site, start: float) -> int:
    """Take the endpoint down and up; how often it was asked meanwhile."""
    time.sleep(max(0.0, start + DOWN[0] - time.monotonic()))
    run.endpoint.switch(site, "down")
    before = run.endpoint.ledger(site).requests
    time.sleep(max(0.0, start + DOWN[1] - time.monotonic()))
    asked = run.endpoint.ledger(site).requests - before
    run.endpoint.switch(site, "up")
    return asked


if __name__ == "__main__":
    alone("outage")
