"""The worker processes: each calls an API with a token, and writes down what it got.

`python -m benchmarks.chaos.worker` with the path of a `Job`, as JSON, in its environment: uWSGI
closes its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
from typing import TYPE_CHECKING

import requests

from benchmarks.chaos.diary import Diary, RecordingAdapter, bearer, requests_sent
from benchmarks.chaos.history import Sent, now
from benchmarks.chaos.job import enter, manager_of
from evertoken import BearerAuth

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from benchmarks.chaos.job import Job
    from evertoken import TokenManager

API_TIMEOUT = 5.0

CALLS_OF_A_CHILD = 10


def session_of(job: Job, manager: TokenManager) -> requests.Session:
    """A session whose requests are written down."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", RecordingAdapter())
    session.auth = BearerAuth(manager, origins=[job.api_url])
    return session


def calls(job: Job, diary: Diary, manager: TokenManager, most: float = float("inf")) -> None:
    """Call the API at the pace of the job until its end, at most so often."""
    session = session_of(job, manager)
    made = 0
    while made < most and not job.over():
        with diary.call():
            session.get(job.api_url, timeout=API_TIMEOUT)
        made += 1
        time.sleep(job.pace * (0.5 + random.random()))  # noqa: S311  no secret is drawn


def threads(job: Job) -> None:
    """Three threads of `requests` that share a manager."""
    diary, manager = Diary(job), manager_of(job)
    workers = [threading.Thread(target=calls, args=(job, diary, manager)) for _ in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()


def tasks(job: Job) -> None:
    """Three tasks of asyncio that share a manager and a client of httpx2."""
    import httpx2  # noqa: PLC0415  only where it is used

    from evertoken.clients.httpx2 import BearerAuth as Auth  # noqa: PLC0415  likewise

    class Transport(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            at, token, status = now(), bearer(request.headers.get("Authorization")), 0
            try:
                response = await super().handle_async_request(request)
                status = response.status_code
            finally:
                requests_sent.get().append(Sent(at, token, status, now()))
            return response

    async def work() -> None:
        diary, manager = Diary(job), manager_of(job)
        auth = Auth(manager, origins=[job.api_url])
        async with (
            httpx2.AsyncClient(
                transport=Transport(), auth=auth, timeout=API_TIMEOUT, trust_env=False
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(3):
                group.create_task(_task(job, diary, client))

    asyncio.run(work())


async def _task(job: Job, diary: Diary, client: httpx2.AsyncClient) -> None:
    while not job.over():
        with diary.call():
            await client.get(job.api_url)
        await asyncio.sleep(job.pace * (0.5 + random.random()))  # noqa: S311  no secret is drawn


def forks(job: Job) -> None:
    """A parent that has a token, and two children at a time that make ten calls each."""
    diary, manager = Diary(job), manager_of(job)
    calls(job, diary, manager, 1)
    children: set[int] = set()
    while not job.over():
        while len(children) < 2:
            child = os.fork()
            if not child:
                with contextlib.suppress(BaseException):
                    calls(job, diary, manager, CALLS_OF_A_CHILD)
                os._exit(0)
            children.add(child)
        children.discard(os.wait()[0])
    for child in children:
        os.waitpid(child, 0)


def script(job: Job) -> None:
    """One call, as a job of cron makes it."""
    calls(job, Diary(job), manager_of(job), 1)


WORKER_KINDS: dict[str, Callable[[Job], None]] = {
    "threads": threads,
    "tasks": tasks,
    "forks": forks,
    "script": script,
}


def main() -> None:
    """Do the job."""
    job = enter()
    WORKER_KINDS[job.kind](job)


if __name__ == "__main__":
    main()
