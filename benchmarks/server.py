"""How fast the token server of the benchmarks is, beside what they ask of it."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.harness import alone
from benchmarks.report import Result, Table, spread

if TYPE_CHECKING:
    from benchmarks.harness import Run

BURST = 64
FORM = "grant_type=password&username=user&password=right"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


def measure(run: Run) -> Result:
    """Grants in a row over one connection, and a burst over 64 new ones."""
    single: list[float] = []
    burst: list[float] = []
    path = run.endpoint.url("speed", expires_in=60, delay=0.0, refresh=False).split("/", 3)[3]
    for _ in range(run.pick(1, 3, 9)):
        single.append(_in_a_row(run, f"/{path}", 300))
        burst.append(_at_once(run, f"/{path}"))
    rows = [
        ["one grant, microseconds", spread([1e6 * s for s in single])],
        [f"{BURST} at once from as many threads, milliseconds", spread([1e3 * b for b in burst])],
    ]
    told = (
        "What the token server itself takes without the delay that a benchmark asks for (100 to "
        "300 ms). The most that a benchmark wants of it at once are the grants of 64 callers."
    )
    return Result("server", told, [Table("Token server", ["", ""], rows)], {"s": single})


def _in_a_row(run: Run, path: str, count: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", run.endpoint.port, timeout=10)
    with contextlib.closing(connection):
        start = time.perf_counter()
        for _ in range(count):
            connection.request("POST", path, FORM, HEADERS)
            assert b"access_token" in connection.getresponse().read()
        return (time.perf_counter() - start) / count


def _at_once(run: Run, path: str) -> float:
    barrier = threading.Barrier(BURST + 1)

    def work() -> None:
        barrier.wait()
        _in_a_row(run, path, 1)

    with ThreadPoolExecutor(BURST) as pool:
        jobs = [pool.submit(work) for _ in range(BURST)]
        barrier.wait()
        start = time.perf_counter()
        for job in jobs:
            job.result()
        return time.perf_counter() - start


if __name__ == "__main__":
    alone("server")
