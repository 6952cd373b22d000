"""Runs the demo: starts a server, has workers share a token, revokes it, and reports."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import requests
from rich.console import Console

from evertoken import TokenError, squadrun
from evertoken.demo import display, fleet, server, shared_store
from evertoken.demo.pace import lifetimes
from evertoken.demo.report import Report
from evertoken.demo.tally import Tally
from evertoken.demo.worker import Job

if TYPE_CHECKING:
    from types import FrameType
    from typing import Never

    from evertoken import TokenManager
    from evertoken.demo.display import Show
    from evertoken.demo.plan import Plan
    from evertoken.demo.server import Server

COUNTS_EVERY = 1.0
"""Seconds between two reads of the server's counts."""


def run(plan: Plan) -> bool:
    """Run `plan` and print the report. Call it only in the main thread of a process.

    Returns:
        Whether no promise was broken. A promise that could not be judged on a busy machine is
        listed in the output, and does not count as broken.

    Raises:
        Unready: it could not start.
        Gone: its sandbox ended too early.
        SystemExit: on SIGTERM, after ending its workers and its server, as on Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _end)
    console = Console(highlight=False, stderr=plan.as_json)
    with shared_store.opened(plan.store) as shared:
        report = _carried_out(plan, shared, console)
    if plan.as_json:
        display.as_json(report)
    else:
        display.table(console, report)
    return report.kept


def _end(_number: int, _frame: FrameType | None) -> Never:
    # otherwise the workers would survive and keep calling
    sys.exit(128 + signal.SIGTERM)


def _carried_out(plan: Plan, shared: str, console: Console) -> Report:
    with display.live(console) as show, server.opened(plan, show) as served:
        start = time.time()
        tally = _work(plan, served, shared, show)
        seconds = time.time() - start
        show.phase("revoking the token")
        return _report(plan, served, shared, tally, seconds)


def _work(plan: Plan, served: Server, shared: str, show: Show) -> Tally:
    jobs = [
        Job(
            name=f"{os.getpid()}-{number}",
            base_url=served.base_url,
            location=shared,
            campaign=plan.campaign,
            threads=1 if plan.once else plan.threads,
            seconds=served.pace.seconds,
            writes=plan.writes,
            once=plan.once,
        )
        for number in range(1 if plan.once else plan.workers)
    ]
    tally = Tally()
    start = asked = time.time()
    grants = None
    show.phase("starting the workers")
    show.calling(served.pace.seconds)
    for tally in fleet.run(jobs):
        if time.time() - asked >= COUNTS_EVERY:
            asked = time.time()
            counts = served.counts()
            grants = None if counts is None else counts.grants
        show.counts(tally, grants, lifetimes(time.time() - start, served.pace.expires_in))
    return tally


def _report(plan: Plan, served: Server, shared: str, tally: Tally, seconds: float) -> Report:
    counts = served.counts()
    store = shared_store.store_at(shared)
    manager = squadrun.manager(base_url=served.base_url, store=store)
    return Report(
        tally=tally,
        pace=served.pace,
        lifetimes=lifetimes(seconds, served.pace.expires_in),
        counts=counts,
        kept_in=shared_store.lines(store, manager.grant.key),
        revoked=_revoked(plan, served, manager),
    )


def _revoked(plan: Plan, served: Server, manager: TokenManager) -> bool | None:
    """Revoke the token. Returns whether the API then rejects it; None: a request failed."""
    url = f"{served.base_url}/api/v4/leads/responses/{plan.campaign}/"
    try:
        # fails if the credentials were refused, which must not be posted again
        manager.token()
        # a new token: the last one may be due, and replaced before it is revoked
        header = f"Bearer {manager.refresh().value}"
        manager.revoke()
        answer = requests.get(url, headers={"Authorization": header}, timeout=30)
    except (TokenError, requests.RequestException):
        return None
    return answer.status_code in squadrun.RETRY_STATUSES
