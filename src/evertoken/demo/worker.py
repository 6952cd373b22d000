"""A worker process: its threads add leads and read them back with `auth=`."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import requests
from requests.auth import AuthBase

from evertoken import squadrun
from evertoken.demo import cpu
from evertoken.demo.shared_store import store_at
from evertoken.demo.tally import Tally
from evertoken.errors import TokenError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from requests import PreparedRequest

THINKING = (0.5, 1.5)
"""Seconds between two rounds of a thread, at random, as for a user who thinks. Without a pause the
threads would compete with the grants for the CPU.
"""

REPORT_EVERY = 0.2
"""Seconds between two reports to the parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The task of one worker.

    Attributes:
        name: distinguishes its leads from those of other workers.
        base_url: the API's.
        location: of the shared store, as an argument of `shared_store.store_at`.
        campaign: the campaign of the leads.
        threads: the number of threads.
        seconds: how long it runs.
        writes: whether leads are added.
        once: whether each thread does only one round.
    """

    name: str
    base_url: str
    location: str = field(repr=False)
    campaign: int
    threads: int
    seconds: float
    writes: bool
    once: bool


def work(job: Job, report: Connection) -> None:
    """Do `job`; send a `Tally` to `report` now and then, and at the end."""
    log = logging.getLogger("evertoken")
    log.addFilter(_is_not_counted)
    try:
        _work(job, report)
    finally:
        log.removeFilter(_is_not_counted)


def _work(job: Job, report: Connection) -> None:
    worker = _Worker(job)
    threads = [
        threading.Thread(target=worker.rounds, args=(number,), daemon=True)
        for number in range(job.threads)
    ]
    for thread in threads:
        thread.start()
    # if the parent was killed, its workers end too
    with contextlib.suppress(BrokenPipeError):
        for thread in threads:
            while thread.is_alive():
                thread.join(REPORT_EVERY)
                report.send(worker.tally)
        # includes what threads counted while another one was joined
        report.send(worker.tally)


class TimedAuth(AuthBase):
    """Passes requests to `auth`, and records how long that took."""

    def __init__(self, auth: AuthBase, worker: _Worker) -> None:
        self._auth = auth
        self._worker = worker

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authenticate `request`."""
        before = cpu.delays()
        start = time.perf_counter()
        signed: PreparedRequest = self._auth(request)
        end = time.perf_counter()
        self._worker.waited(start, end, without_cpu=cpu.delayed_since(before))
        return signed


class _Worker:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.tally: Tally = Tally()
        self._lock = threading.Lock()  # guards tally and _had_token_at
        self._had_token_at: float | None = None
        self._until = time.monotonic() + job.seconds
        shared = squadrun.auth(base_url=job.base_url, store=store_at(job.location))
        self._auth = TimedAuth(shared, self)

    def waited(self, start: float, end: float, *, without_cpu: float) -> None:
        """Record a wait. One that began before the first token arrived is a wait for that token."""
        wait = end - start
        with self._lock:
            if self._had_token_at is None:
                self._had_token_at = end
            if start < self._had_token_at:
                self.tally += Tally(first_wait=wait)
            else:
                self.tally += Tally(longest_wait=wait, longest_stall=max(0.0, wait - without_cpu))

    def rounds(self, number: int) -> None:
        """Add a lead and read it back, repeatedly."""
        count = 0
        with requests.Session() as session:
            session.auth = self._auth
            while time.monotonic() < self._until:
                lead = f"{self.job.name}-{number}-{count}"
                if not self.job.writes or self._call(session, "create", lead):
                    self._call(session, "responses", lead)
                if self.job.once:
                    return
                count += 1
                self._think()

    def _think(self) -> None:
        left = max(0.0, self._until - time.monotonic())
        time.sleep(min(left, random.uniform(*THINKING)))  # noqa: S311  not a secret

    def _call(self, session: requests.Session, action: str, lead: str) -> bool:
        url = f"{self.job.base_url}/api/v4/leads/{action}/{self.job.campaign}/"
        try:
            if action == "create":
                document = {"lead_id": lead, "phone_number": "+10000000000", "contact_name": lead}
                response = session.post(url, json=[document], timeout=30)
                failure = _unexpected(response, HTTPStatus.CREATED)
            else:
                query = {"page_size": "1", **({"lead_id": lead} if self.job.writes else {})}
                response = session.get(url, params=query, timeout=30)
                failure = _unexpected(response, HTTPStatus.OK) or self._misread(response)
        except Exception as error:  # noqa: BLE001  if the thread died, no failure would be counted
            failure = f"{type(error).__name__}: {error}"
        self._count(failure, sent=action == "create")
        return failure is None

    def _misread(self, response: requests.Response) -> str | None:
        if self.job.writes and response.json()["count"] != 1:
            return "a lead was not read back"
        return None

    def _count(self, failure: str | None, *, sent: bool) -> None:
        good = failure is None
        one = Tally(calls=1, failed=not good, leads=sent and good, first_failure=failure)
        with self._lock:
            self.tally += one


def _is_not_counted(record: logging.LogRecord) -> bool:
    """Whether to log `record`: the tally counts failed renewals, which would break the display."""
    values = record.args if isinstance(record.args, tuple) else ()
    return not any(isinstance(it, TokenError) for it in values)


def _unexpected(response: requests.Response, status: int) -> str | None:
    if response.status_code == status:
        return None
    return f"{response.status_code} {response.reason} instead of {status}"
