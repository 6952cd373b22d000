"""Real processes of a fleet, forked from one process that has imported everything.

Started by `run_fleet`; `python -m support.fleet_worker JOB COUNT` with the settings on its input.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from evertoken import (
    BearerAuth,
    FileStore,
    PasswordGrant,
    RefreshPolicy,
    TokenError,
    TokenManager,
)
from evertoken.runtime import pool, reports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evertoken.testing import TokenServer

Report = dict[str, object]

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a worker process.

    Attributes:
        seconds: how long it works.
        passwords: process `n` uses the one at index `n` modulo their number.
    """

    token_url: str
    client_id: str
    client_secret: str
    username: str
    passwords: Sequence[str]
    directory: str | None = None
    threads: int = 1
    seconds: float = 0.0
    timeout: float = 30.0
    refusal_cooldown: float = 300.0
    api_url: str = ""

    @classmethod
    def of(cls, server: TokenServer, **options: object) -> Settings:
        """The settings for a server."""
        given: dict[str, object] = {
            "token_url": server.token_url,
            "client_id": server.client_id,
            "client_secret": server.client_secret,
            "username": server.username,
            "passwords": [server.password],
            "api_url": server.api_url,
            **options,
        }
        return cls(**given)  # type: ignore[arg-type]  # a test's options are what they are

    def manager(self, number: int) -> TokenManager:
        """The manager of the process with this number."""
        grant = PasswordGrant(
            self.token_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            username=self.username,
            password=self.passwords[number % len(self.passwords)],
        )
        store = None if self.directory is None else FileStore(self.directory)
        policy = RefreshPolicy(refusal_cooldown=self.refusal_cooldown)
        return TokenManager(grant, store=store, policy=policy, timeout=self.timeout)


def once(settings: Settings, number: int) -> Report:
    """Ask for a token once."""
    manager = settings.manager(number)
    started = time.monotonic()
    token = manager.token()
    return {"token": token.value, "slowest": time.monotonic() - started}


def work(settings: Settings, number: int) -> Report:
    """Ask for tokens continuously, in several threads."""
    manager = settings.manager(number)
    first = time.monotonic()
    manager.token()
    done = [_Work() for _ in range(settings.threads)]
    end = time.monotonic() + settings.seconds
    threads = [
        threading.Thread(target=report.run, args=(manager, end), daemon=True) for report in done
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "began": first,
        "ended": time.monotonic(),
        "first": started - first,
        "calls": sum(report.calls for report in done),
        "failed": sum(report.failed for report in done),
        "expired": sum(report.expired for report in done),
        "slowest": max(report.slowest for report in done),
        "tokens": sorted(set().union(*(report.tokens for report in done))),
    }


def insist(settings: Settings, number: int) -> Report:
    """Ask for tokens continuously, whatever the result."""
    manager = settings.manager(number)
    report = _Work()
    report.run(manager, time.monotonic() + settings.seconds)
    return {"failed": report.failed, "calls": report.calls}


def call(settings: Settings, number: int) -> Report:
    """Call an API in several threads, each with a manager of its own, whatever the answer is."""
    kept = _Kept()
    log = logging.getLogger("evertoken")
    log.addHandler(kept)

    def run() -> None:
        auth = BearerAuth(settings.manager(number))
        for _ in range(5):
            try:
                requests.get(settings.api_url, auth=auth, timeout=settings.timeout)
            except requests.RequestException as error:
                kept.raised.add(type(error).__name__)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(settings.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reports.catch_up(20.0)
    log.removeHandler(kept)
    return {
        "raised": sorted(kept.raised),
        "warnings": [it.getMessage() for it in kept.records if it.levelno >= logging.WARNING],
        "tracebacks": sum(it.exc_info is not None for it in kept.records),
    }


class _Kept(logging.Handler):
    """All that was logged, and the kinds of errors that calls raised."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.raised: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _Work:
    def __init__(self) -> None:
        self.calls = self.failed = self.expired = 0
        self.slowest = 0.0
        self.tokens: set[str] = set()

    def run(self, manager: TokenManager, end: float) -> None:
        while (started := time.monotonic()) < end:
            self.calls += 1
            came = time.time()
            try:
                token = manager.token()
            except TokenError:
                self.failed += 1
            else:
                # taken before the call: on a busy machine this thread may be delayed after it
                self.expired += came >= token.expires_at
                self.tokens.add(token.value)
            self.slowest = max(self.slowest, time.monotonic() - started)
            threading.Event().wait(0.002)


JOBS: dict[str, Callable[[Settings, int], Report]] = {
    "once": once,
    "work": work,
    "insist": insist,
    "call": call,
}


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that can import this package, with `more` variables."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def run_fleet(job: str, count: int, settings: Settings, *, within: float = 60.0) -> list[Report]:
    """Run `count` processes that begin at the same moment, and return their reports.

    The report of a failed process has an `error`.
    """
    done = subprocess.run(  # noqa: S603  this very file
        [sys.executable, "-m", "support.fleet_worker", job, str(count)],
        input=json.dumps(asdict(settings)),
        stdout=subprocess.PIPE,
        text=True,
        timeout=within,
        check=True,
        env=environment(),
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    """Fork the workers, let them start, and wait for them."""
    job, count = JOBS[sys.argv[1]], int(sys.argv[2])
    settings = Settings(**json.load(sys.stdin))
    settings.manager(0)
    import filelock  # noqa: F401, PLC0415  here once, not in each child

    gate, opener = os.pipe()
    for number in range(count):
        if os.fork() == 0:
            os.close(opener)
            os.read(gate, 1)
            _report(job, settings, number)
    os.close(opener)
    for _ in range(count):
        os.wait()


def _report(job: Callable[[Settings, int], Report], settings: Settings, number: int) -> None:
    try:
        report = job(settings, number)
    except TokenError as error:
        report = {"error": type(error).__name__, "message": str(error)}
    except BaseException:  # noqa: BLE001  a child must not go on as the nursery
        report = {"error": traceback.format_exc()}
    os.write(1, json.dumps({**report, "number": number}).encode() + b"\n")
    # an exit waits a second for saves, and a busy machine takes longer
    pool.finish(60.0)
    # end like a process of multiprocessing
    threading._shutdown()  # type: ignore[attr-defined]  # it has no public name
    os._exit(0)


if __name__ == "__main__":
    main()
