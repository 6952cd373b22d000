"""How a fleet grows: grants per lifetime and the slowest call for its token, by processes.

`python -m benchmarks.fleet` (or `python benchmarks/fleet.py`) runs 1, 4, 16 and 64 processes over
one folder for four lifetimes each; `--quick` runs 1, 4 and 16 for two. The endpoint takes 0.5 s for
a grant, as Django's password hashing does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass

import filelock  # noqa: F401  as `gunicorn --preload` has it loaded before it forks

from evertoken import FileStore, PasswordGrant, TokenManager
from evertoken.testing import TokenServer

LIFETIME = 4.0
"""Seconds of a token."""

GRANT = 0.5
"""Seconds that the endpoint takes for one."""

PERIOD = LIFETIME * (1 - 1 / 4 * (1 + 0.25))
"""Seconds at least between grants: a quarter of the lifetime early, and all jitter on top."""

PAUSE = 0.005
"""Seconds between two calls of a process: 64 of them are not to measure the processor."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one process saw; seconds."""

    first: float
    slowest: float
    calls: int
    failed: int


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one fleet; seconds."""

    processes: int
    grants: int
    lifetimes: float
    first: float
    slowest: float
    calls: int
    failed: int


def manager_of(server: TokenServer, directory: str) -> TokenManager:
    """As a worker makes it."""
    grant = PasswordGrant(
        server.token_url,
        client_id=server.client_id,
        client_secret=server.client_secret,
        username=server.username,
        password=server.password,
    )
    return TokenManager(grant, store=FileStore(directory))


def work(manager: TokenManager, seconds: float) -> Work:
    """Ask for the token all the time."""
    started = time.perf_counter()
    manager.token()
    first = time.perf_counter() - started
    slowest, calls, failed = 0.0, 1, 0
    while (before := time.perf_counter()) < started + seconds:
        try:
            manager.token()
        except OSError:
            failed += 1
        slowest = max(slowest, time.perf_counter() - before)
        calls += 1
        time.sleep(PAUSE)
    return Work(first, slowest, calls, failed)


def forked(manager: TokenManager, seconds: float, processes: int) -> list[Work]:
    """What so many processes saw, which began together."""
    reader, writer = os.pipe()
    gate, opener = os.pipe()
    for _ in range(processes):
        if os.fork() == 0:
            os.close(opener)
            os.read(gate, 1)
            os.write(writer, json.dumps(asdict(work(manager, seconds))).encode() + b"\n")
            os._exit(0)
    for descriptor in (writer, opener, gate):
        os.close(descriptor)
    with os.fdopen(reader) as reports:
        seen = [Work(**json.loads(line)) for line in reports]
    for _ in range(processes):
        os.wait()
    assert len(seen) == processes, "a process died"
    return seen


def measured(processes: int, lifetimes: int) -> Row:
    """One fleet over a folder of its own."""
    seconds = lifetimes * LIFETIME
    with (
        TokenServer(expires_in=LIFETIME, latency=GRANT) as server,
        tempfile.TemporaryDirectory() as at,
    ):
        seen = forked(manager_of(server, at), seconds, processes)
        grants = server.token_requests
    return Row(
        processes,
        grants,
        seconds / PERIOD,
        max(work.first for work in seen),
        max(work.slowest for work in seen),
        sum(work.calls for work in seen),
        sum(work.failed for work in seen),
    )


def show(rows: list[Row]) -> None:
    """The table, and how its two numbers grow."""
    print(f"tokens of {LIFETIME:g} s, grants of {GRANT:g} s, {os.cpu_count()} processors")
    print("processes  grants  due at most  first call ms  slowest later ms     calls  failed")
    for row in rows:
        print(
            f"{row.processes:9}  {row.grants:6}  {row.lifetimes + 1:11.1f}"
            f"  {row.first * 1000:13.0f}  {row.slowest * 1000:16.1f}"
            f"  {row.calls:8}  {row.failed:6}"
        )
    small, large = rows[0], rows[-1]
    grants, slowest = large.grants / small.grants, large.slowest / small.slowest
    print(f"{small.processes} to {large.processes} processes: ", end="")
    print(f"grants x{grants:.2f}, slowest later call x{slowest:.1f}")


def main() -> int:
    """Print the table; 1 where a call failed or grants grew with the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two lifetimes, up to 16 processes")
    quick = parser.parse_args().quick
    rows = [
        measured(count, 2 if quick else 4) for count in ([1, 4, 16] if quick else [1, 4, 16, 64])
    ]
    show(rows)
    return int(any(row.failed or row.grants > row.lifetimes + 1 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
