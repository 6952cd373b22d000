"""One worker process: threads that add leads and read them back with `auth=`."""

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
from evertoken.demo.place import store_at
from evertoken.demo.tally import Tally
from evertoken.errors import TokenError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from requests import PreparedRequest

THINKING = (0.5, 1.5)
"""Seconds between two rounds of a thread, at random: its user thinks. Threads that called without a
pause would compete with the grants for the CPU."""

REPORT_EVERY = 0.2
"""Seconds between two reports to the parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one worker does.

    Attributes:
        name: tells its leads from those of others.
        base_url: of the API.
        place: where the token is shared, as `place.store_at` takes it.
        campaign: whose leads.
        threads: how many.
        seconds: for how long.
        writes: whether leads are added.
        once: whether each thread does one round and no more.
    """

    name: str
    base_url: str
    place: str = field(repr=False)
    campaign: int
    threads: int
    seconds: float
    writes: bool
    once: bool


def work(job: Job, report: Connection) -> None:
    """Do `job`, sending a `Tally` to `report` now and then and at the end."""
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
    # a parent that was killed listens no more: its workers end too
    with contextlib.suppress(BrokenPipeError):
        for thread in threads:
            while thread.is_alive():
                thread.join(REPORT_EVERY)
                report.send(worker.tally)
        # what the last of them counted while an earlier one was waited for
        report.send(worker.tally)


class TimedAuth(AuthBase):
    """Passes requests on to `auth`, and reports how long that took."""

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
        self.tally = Tally()
        self._lock = threading.Lock()  # guards tally and _had_token_at
        self._had_token_at: float | None = None
        self._until = time.monotonic() + job.seconds
        shared = squadrun.auth(base_url=job.base_url, store=store_at(job.place))
        self._auth = TimedAuth(shared, self)

    def waited(self, start: float, end: float, *, without_cpu: float) -> None:
        """Note a wait for a token; one that began before there was a token waited for the first."""
        wait = end - start
        with self._lock:
            if self._had_token_at is None:
                self._had_token_at = end
            if start < self._had_token_at:
                self.tally += Tally(first_wait=wait)
            else:
                self.tally += Tally(longest_wait=wait, longest_stall=max(0.0, wait - without_cpu))

    def rounds(self, number: int) -> None:
        """Add a lead and read it back, again and again."""
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
        time.sleep(min(left, random.uniform(*THINKING)))  # noqa: S311  no secret depends on it

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
        except Exception as error:  # noqa: BLE001  a thread that died would count as no failure
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
    """Whether the tally does not tell this; a failed renewal would break the live display."""
    told = record.args if isinstance(record.args, tuple) else ()
    return not any(isinstance(it, TokenError) for it in told)


def _unexpected(response: requests.Response, status: int) -> str | None:
    if response.status_code == status:
        return None
    return f"{response.status_code} {response.reason} in place of {status}"
