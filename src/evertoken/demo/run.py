"""From a plan to a report: a server, workers over one token, a revocation."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests
from rich.console import Console

from evertoken import TokenError, squadrun
from evertoken.demo import display, fleet, place
from evertoken.demo.plan import Gone, Unready
from evertoken.demo.report import Report, lifetimes
from evertoken.demo.tally import Tally
from evertoken.demo.worker import Job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Never

    from evertoken import TokenManager
    from evertoken.demo.plan import Plan
    from evertoken.sandbox import Sandbox, Stats

_UNAUTHORIZED = 401

STATS_EVERY = 1.0
"""Seconds between two looks at the server's counts."""


def run(plan: Plan) -> bool:
    """Carry `plan` out and print what came of it. Only for the main thread of a process.

    Returns:
        Whether every promise was kept.

    Raises:
        Unready: it could not start.
        Gone: its sandbox ended before it.
        SystemExit: by SIGTERM, with its workers and its server ended as by Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _end)
    console = Console(highlight=False, stderr=plan.as_json)
    with place.opened(plan.store) as shared, _server(plan) as server:
        start = time.time()
        tally = _work(plan, server, shared, console)
        report = _report(plan, server, shared, tally, time.time() - start)
    if plan.as_json:
        display.as_json(report)
    else:
        display.table(console, report)
    return report.kept


@dataclass(frozen=True, slots=True)
class _Server:
    """An API, and the sandbox behind it whose counts can be asked; a real account has none."""

    base_url: str
    sandbox: Sandbox | None = None

    def stats(self) -> Stats | None:
        if self.sandbox is None:
            return None
        try:
            return self.sandbox.stats()
        except requests.RequestException:
            fault = f"the sandbox at {self.base_url} does not answer any more: run the demo again"
            raise Gone(fault) from None


@contextlib.contextmanager
def _server(plan: Plan) -> Iterator[_Server]:
    if plan.base_url is not None:
        _require_variables()
        yield _Server(plan.base_url.rstrip("/"))
        return
    from evertoken.sandbox import SandboxError, serve  # noqa: PLC0415  a real account needs none

    with contextlib.ExitStack() as stack:
        try:
            sandbox = stack.enter_context(
                serve(expires_in=plan.expires_in, fast_hashing=plan.fast_hashing)
            )
        except SandboxError as error:
            raise Unready(str(error)) from None
        # the workers inherit it; the sandbox's account is no secret, and no proxy that the
        # environment names is to stand between two processes of one machine
        os.environ.update(sandbox.environment, no_proxy="127.0.0.1")
        yield _Server(sandbox.base_url, sandbox)


def _end(_number: int, _frame: FrameType | None) -> Never:
    # else the workers would be left behind, calling on
    sys.exit(128 + signal.SIGTERM)


def _require_variables() -> None:
    names = ("CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD")
    missing = [f"SQUADRUN_{name}" for name in names if not os.environ.get(f"SQUADRUN_{name}")]
    if missing:
        raise Unready(f"a real account needs its credentials: set {', '.join(missing)}")


def _work(plan: Plan, server: _Server, shared: str, console: Console) -> Tally:
    jobs = [
        Job(
            name=f"{os.getpid()}-{number}",
            base_url=server.base_url,
            place=shared,
            campaign=plan.campaign,
            threads=1 if plan.once else plan.threads,
            seconds=plan.seconds,
            writes=plan.writes,
            once=plan.once,
        )
        for number in range(1 if plan.once else plan.workers)
    ]
    tally = Tally()
    start = asked = time.time()
    grants = None
    with display.live(console, plan.seconds) as show:
        for tally in fleet.run(jobs):
            if time.time() - asked >= STATS_EVERY:
                asked = time.time()
                grants = _grants(server.stats())
            show(tally, grants, lifetimes(time.time() - start, plan.expires_in))
    return tally


def _report(plan: Plan, server: _Server, shared: str, tally: Tally, seconds: float) -> Report:
    stats = server.stats()
    store = place.store_at(shared)
    manager = squadrun.manager(base_url=server.base_url, store=store)
    return Report(
        tally=tally,
        lifetimes=lifetimes(seconds, plan.expires_in),
        grants=_grants(stats),
        unauthorized=None if stats is None else stats.api_calls.get(_UNAUTHORIZED, 0),
        stored=None if stats is None else stats.leads,
        kept_in=place.lines(store, manager.grant.key),
        revoked=_revoked(plan, server, manager),
    )


def _grants(stats: Stats | None) -> int | None:
    return None if stats is None else sum(stats.grants.values())


def _revoked(plan: Plan, server: _Server, manager: TokenManager) -> bool:
    """Revoke the token; whether the API then refused it."""
    url = f"{server.base_url}/api/v4/leads/responses/{plan.campaign}/"
    try:
        # credentials that were refused are not asked about again
        manager.token()
        # a new one: the last one may be due, and replaced before it is revoked
        header = f"Bearer {manager.refresh().value}"
        manager.revoke()
        answer = requests.get(url, headers={"Authorization": header}, timeout=30)
    except (TokenError, requests.RequestException):
        return False
    return answer.status_code in squadrun.RETRY_STATUSES
