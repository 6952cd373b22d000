"""Time per request with a fresh token: each peer's auth beside a static header.

`python -m benchmarks.hot_path` prints nanoseconds per call and the ratio. All are timed in turn
over many short rounds, net of the loop around them; the 10th percentile is taken, since medians
move with the load of the machine. The static header is also timed against itself: what that ratio
is off 1 is the precision of the others.
"""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from requests.auth import AuthBase

from benchmarks.harness import alone, prepared
from benchmarks.peers.peer import HEADER
from benchmarks.peers.registry import FLOOR, SUBJECT
from benchmarks.report import Result, Table
from evertoken import BearerAuth

if TYPE_CHECKING:
    from requests import PreparedRequest

    from benchmarks.harness import Run
    from benchmarks.peers.peer import Auth
    from evertoken import TokenManager

CALLS = 1000
THREADS = 8
AGAIN = "floor_again"
BARE = "ever_bare"
HOURS = 36000


class Bare(AuthBase):
    """evertoken without a look at the origin and without a replay."""

    def __init__(self, manager: TokenManager) -> None:
        self.manager = manager

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set the header."""
        request.headers[HEADER] = self.manager.header()
        return request


def round_of(auth: Auth, calls: int = CALLS) -> float:
    """Nanoseconds per call over one short round, on requests prepared before."""
    batch = [prepared() for _ in range(calls)]
    start = time.perf_counter_ns()
    for _ in batch:
        pass
    looped = time.perf_counter_ns()
    for request in batch:
        auth(request)
    return (time.perf_counter_ns() - looped - (looped - start)) / calls


def round_in_threads(auth: Auth, calls: int) -> float:
    """The same for `THREADS` threads at once: wall time over the calls of all."""
    batches = [[prepared() for _ in range(calls)] for _ in range(THREADS)]
    barrier = threading.Barrier(THREADS)

    def work(number: int) -> tuple[int, int, int]:
        barrier.wait()
        start = time.perf_counter_ns()
        for _ in batches[number]:
            pass
        looped = time.perf_counter_ns()
        for request in batches[number]:
            auth(request)
        return start, looped - start, time.perf_counter_ns()

    with ThreadPoolExecutor(THREADS) as pool:
        spans = list(pool.map(work, range(THREADS)))
    wall = max(end for *_, end in spans) - min(start for start, *_ in spans)
    return (wall - sum(loop for _, loop, _ in spans)) / (calls * THREADS)


def measure(run: Run) -> Result:
    """Nanoseconds per call of each, in one thread and in eight."""
    auths = {name: peer.open(run.site(peer, expires_in=HOURS)) for name, peer in run.peers.items()}
    auths[AGAIN] = auths[FLOOR]
    ours = auths[SUBJECT]
    assert isinstance(ours, BearerAuth)
    auths[BARE] = Bare(ours.manager)
    for auth in auths.values():
        # the first asks for the token, the second finds it
        auth(auth(prepared()))
        assert auth(prepared()).headers["Authorization"]
    alone_ns = timed(run, auths, run.pick(3, 25, 150), round_of)
    together_ns = timed(run, auths, run.pick(1, 4, 25), lambda auth: round_in_threads(auth, 250))
    titles = {name: peer.title for name, peer in run.peers.items()}
    titles |= {AGAIN: "static header again", BARE: "evertoken, header() alone"}
    return Result(
        "hot_path",
        "Nanoseconds per request that the auth takes with a fresh token, and their ratio to a "
        f"static header: 10th percentile of shuffled rounds, 1 thread and {THREADS}.",
        [_table(titles, alone_ns, together_ns)],
        {"titles": titles, "ns": alone_ns, f"ns_{THREADS}_threads": together_ns},
    )


def timed(run: Run, auths: dict[str, Auth], rounds: int, measure_round: Timed) -> dict[str, float]:
    """The 10th percentile of shuffled rounds, or the median of a few."""
    times: dict[str, list[float]] = {name: [] for name in auths}
    for _ in range(rounds):
        for name in run.shuffled(list(auths)):
            times[name].append(measure_round(auths[name]))
    return {
        name: statistics.quantiles(found, n=10)[0] if len(found) > 9 else statistics.median(found)
        for name, found in times.items()
    }


def _table(titles: dict[str, str], one: dict[str, float], many: dict[str, float]) -> Table:
    rows = [
        [
            titles[name],
            f"{one[name]:.0f}",
            f"{one[name] / one[FLOOR]:.2f}",
            f"{many[name]:.0f}",
            f"{many[name] / many[FLOOR]:.2f}",
        ]
        for name in sorted(one, key=one.__getitem__)
    ]
    columns = ["", "ns, 1 thread", "ratio", f"ns, {THREADS} threads", "ratio"]
    return Table("Time per request with a fresh token", columns, rows)


if TYPE_CHECKING:
    from collections.abc import Callable

    Timed = Callable[[Auth], float]

if __name__ == "__main__":
    alone("hot_path")
