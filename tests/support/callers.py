"""Worker processes that call an API with `auth=`, each newly started, like gunicorn's."""

from __future__ import annotations

import multiprocessing
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from evertoken import BearerAuth, FileStore, TokenError, squadrun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

LONGEST = 60.0
"""Seconds after which a worker that was told to end is assumed to hang."""

PACE = 0.02
"""Seconds between two calls of a thread, so that the server is busy but not overloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The task of one worker; its account comes from the environment.

    Attributes:
        base_url: of the API.
        directory: where the token file is.
        threads: the number of threads that call.
        limit: the number of calls per thread; None: until it is told to stop.
        replays: whether a call rejected for a dead token is made again.
    """

    base_url: str
    directory: str
    threads: int
    limit: int | None = None
    replays: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        begun: when it began, in Unix seconds.
        authorization: the header it was sent with, if it was sent.
        status: of the final answer.
        failure: the exception: its type, an OAuth code, a status.
    """

    begun: float
    authorization: str | None = None
    status: int | None = None
    failure: tuple[str, str | None, int | None] | None = None


class Callers:
    """The running workers."""

    def __init__(self, stop: Event, ends: Sequence[Connection]) -> None:
        self._stop = stop
        self._ends = ends

    def told_to_stop(self) -> list[Call]:
        """End the workers, and return all their calls."""
        self._stop.set()
        return self.done()

    def done(self) -> list[Call]:
        """Wait until each worker has reached its limit, and return all their calls."""
        calls: list[Call] = []
        for end in self._ends:
            assert end.poll(LONGEST), "a worker hangs"
            calls += end.recv()
        return calls


@contextmanager
def callers(job: Job, *, processes: int) -> Iterator[Callers]:
    """Start worker processes with the same job, and end them with the block."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    workers = [
        context.Process(target=work, args=(job, stop, report), daemon=True) for _, report in pipes
    ]
    try:
        for worker in workers:
            worker.start()
        yield Callers(stop, [end for end, _ in pipes])
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
        for end, report in pipes:
            end.close()
            report.close()


def work(job: Job, stop: Event, report: Connection) -> None:
    """One worker: calls until it is told to stop or reaches its limit, then reports all calls."""
    auth = _auth(job)
    calls: list[Call] = []

    def run() -> None:
        with requests.Session() as session:
            session.auth = auth
            for _ in range(10**9 if job.limit is None else job.limit):
                calls.append(_call(session, job.base_url))
                if stop.wait(PACE):
                    return

    threads = [threading.Thread(target=run) for _ in range(job.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.send(calls)


def _auth(job: Job) -> BearerAuth:
    store = FileStore(job.directory)
    if job.replays:
        return squadrun.auth(base_url=job.base_url, store=store)
    manager = squadrun.manager(base_url=job.base_url, store=store)
    return BearerAuth(manager, origins=[job.base_url], retry_statuses=())


def _call(session: requests.Session, base_url: str) -> Call:
    begun = time.time()
    url = f"{base_url}/api/v4/leads/create/7/"
    lead = {"lead_id": "L1", "phone_number": "+911234567890", "contact_name": "Ada"}
    try:
        response = session.post(url, json=[lead], timeout=30)
    except TokenError as error:
        return Call(begun, failure=(type(error).__name__, error.error, error.status))
    except requests.RequestException as error:
        return Call(begun, failure=(type(error).__name__, None, None))
    return Call(begun, str(response.request.headers["Authorization"]), response.status_code)
