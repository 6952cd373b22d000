"""A wrong password and 100 calls: how often it is posted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.calls import signed
from benchmarks.harness import alone
from benchmarks.report import Result, Table, spread

if TYPE_CHECKING:
    from benchmarks.harness import Run
    from benchmarks.peers.peer import Peer

CALLS = 100


def measure(run: Run) -> Result:
    """Each peer in turn, in shuffled rounds."""
    names = run.renewing()
    posts: dict[str, list[int]] = {name: [] for name in names}
    for _ in range(run.pick(1, 2, 3)):
        for name in run.shuffled(names):
            posts[name].append(_posts(run, run.peers[name]))
    titles = {name: run.peers[name].title for name in names}
    rows = [[titles[n], spread([float(p) for p in found])] for n, found in posts.items()]
    table = Table(f"A wrong password, {CALLS} calls", ["", "posts"], rows)
    return Result("refusal", TOLD, [table], {"titles": titles, "posts": posts})


TOLD = "How often a wrong password is posted while 100 calls want a token. Servers lock accounts."


def _posts(run: Run, peer: Peer) -> int:
    site = run.site(peer, expires_in=3600, password="wrong")
    auth = peer.open(site)
    calls = [signed(auth) for _ in range(CALLS)]
    assert all(call.failed for call in calls), f"{peer.title} got a token for a wrong password"
    return run.endpoint.ledger(site).requests


if __name__ == "__main__":
    alone("refusal")
