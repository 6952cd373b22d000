"""64 threads that want a token at once, at a cold start and when it has ended."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.calls import signed
from benchmarks.harness import alone
from benchmarks.report import Result, Table, spread

if TYPE_CHECKING:
    from benchmarks.harness import Run
    from benchmarks.peers.peer import Auth, Site

THREADS = 64
IN_SMOKE = 16
LATENCY = 0.1
PERIOD = 2
LONG_PAST = 1.6
"""Periods after which the token is past its margin, or over: evertoken's is over."""


@dataclass(frozen=True, slots=True)
class Rush:
    """What became of the threads."""

    grants: int
    seconds: float
    failed: int


def measure(run: Run) -> Result:
    """All peers start cold in turn; their tokens end meanwhile; all are rushed again in turn."""
    cold: dict[str, list[Rush]] = {name: [] for name in run.renewing()}
    ended: dict[str, list[Rush]] = {name: [] for name in run.renewing()}
    for _ in range(run.pick(1, 1, 3)):
        _round(run, cold, ended)
    titles = {name: run.peers[name].title for name in cold}
    data = {"titles": titles, "cold": _kept(cold), "ended": _kept(ended)}
    return Result("threads", TOLD, [_table(titles, cold, ended)], data)


TOLD = (
    f"{THREADS} threads ask at once, the token endpoint takes {LATENCY * 1000:.0f} ms: grants, "
    "milliseconds until all have a token, and threads that got an error; at a cold start, and "
    "when the token has come to its end or into the peer's margin."
)


def _round(run: Run, cold: dict[str, list[Rush]], ended: dict[str, list[Rush]]) -> None:
    sites, auths, started = {}, {}, {}
    for name in run.shuffled(list(cold)):
        peer = run.peers[name]
        sites[name] = run.site(peer, expires_in=peer.lifetime(PERIOD), delay=LATENCY)
        auths[name] = peer.open(sites[name])
        cold[name].append(_rush(run, auths[name], sites[name]))
        started[name] = time.monotonic()
    for name, auth in auths.items():
        time.sleep(max(0.0, started[name] + PERIOD * LONG_PAST - time.monotonic()))
        ended[name].append(_rush(run, auth, sites[name]))


def _rush(run: Run, auth: Auth, site: Site) -> Rush:
    threads = run.pick(IN_SMOKE, THREADS, THREADS)
    before = len(run.endpoint.ledger(site).grants)
    barrier = threading.Barrier(threads + 1)

    def work() -> tuple[float, bool]:
        barrier.wait()
        call = signed(auth)
        return call.moment, call.failed or not call.header

    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(work) for _ in range(threads)]
        barrier.wait()
        start = time.monotonic()
        done = [job.result() for job in jobs]
    time.sleep(3 * LATENCY)  # who renews in the background is not done yet
    grants = len(run.endpoint.ledger(site).grants) - before
    assert grants, f"nothing was asked for {site.token_url}"
    return Rush(grants, max(end for end, _ in done) - start, sum(bad for _, bad in done))


def _kept(rushes: dict[str, list[Rush]]) -> dict[str, list[tuple[int, float, int]]]:
    return {
        name: [(r.grants, r.seconds, r.failed) for r in found] for name, found in rushes.items()
    }


def _cells(found: list[Rush]) -> list[str]:
    return [
        spread([float(r.grants) for r in found]),
        spread([1000 * r.seconds for r in found]),
        str(sum(r.failed for r in found)),
    ]


def _table(
    titles: dict[str, str], cold: dict[str, list[Rush]], ended: dict[str, list[Rush]]
) -> Table:
    rows = [[title, *_cells(cold[n]), *_cells(ended[n])] for n, title in titles.items()]
    columns = ["", "cold: grants", "ms", "errors", "ended: grants", "ms", "errors"]
    return Table(f"{THREADS} threads at once", columns, rows)


if __name__ == "__main__":
    alone("threads")
