"""The worker processes: each calls an API with a token, and writes down what it got.

`python -m benchmarks.chaos.worker` with the path of a `Job`, as JSON, in its environment: uWSGI
closes its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import sys
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import requests
from requests.adapters import HTTPAdapter

from benchmarks.chaos.controls import Controls, obey
from benchmarks.chaos.history import Call, Sent, digest, now, write
from benchmarks.chaos.kinds import BACKOFF, LEASE
from evertoken import (
    BearerAuth,
    ClientCredentialsGrant,
    FileStore,
    PasswordGrant,
    RefreshPolicy,
    RefreshTokenGrant,
    TokenError,
    TokenManager,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2
    from requests import PreparedRequest, Response

    from evertoken.ports import Grant, TokenStore

JOB = "EVERTOKEN_CHAOS_JOB"
"""The variable with the path of the job."""

DEADLINE = 6.0
"""Seconds that a token request may take."""

TIMEOUT = 8.0
"""Seconds that a call waits for a token."""

API_TIMEOUT = 5.0

COOLDOWN = 15.0
"""Seconds for which refused credentials are not posted again."""

CALLS_OF_A_CHILD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is told.

    Attributes:
        slot: its name; a process that takes its place has the same.
        kind: one of `KINDS`, or `uwsgi`.
        credentials: the file with the password or the first refresh token.
        folder, redis_url: its store is the one that is not empty.
        history, controls, stop: a folder, the machine's switches, a file that ends the work.
        pace: seconds between two calls.
        harness: the process id of the harness.
        port: of a server, which makes a call for each request; 0: none.
    """

    slot: str
    kind: str
    identity: str
    machine: str
    grant: str
    token_url: str
    api_url: str
    client_id: str
    client_secret: str
    username: str
    credentials: str
    folder: str
    redis_url: str
    places: tuple[str, ...]
    history: str
    controls: str
    stop: str
    pace: float
    harness: int
    port: int = 0

    def over(self) -> bool:
        """Whether the work is over, or the harness gone."""
        return os.path.exists(self.stop) or not os.path.exists(f"/proc/{self.harness}")


def grant_of(job: Job) -> Grant:
    """The grant, whose credentials are read from a file that the nemesis may change."""
    secret = Path(job.credentials).read_text
    if job.grant == "client_credentials":
        return ClientCredentialsGrant(
            job.token_url,
            client_id=job.client_id,
            client_secret=job.client_secret,
            deadline=DEADLINE,
        )
    if job.grant == "refresh_token":
        return RefreshTokenGrant(
            job.token_url,
            account=job.identity,
            client_id=job.client_id,
            client_secret=job.client_secret,
            refresh_token=secret,
            deadline=DEADLINE,
        )
    return PasswordGrant(
        job.token_url,
        client_id=job.client_id,
        client_secret=job.client_secret,
        username=job.username,
        password=secret,
        deadline=DEADLINE,
    )


def store_of(job: Job) -> TokenStore:
    """A folder, or Valkey over the machine's link."""
    if job.folder:
        return FileStore(job.folder)
    from evertoken.stores.redis import RedisStore  # noqa: PLC0415  only where it is used

    return RedisStore(job.redis_url, lease=LEASE, recheck=1.0)


def manager_of(job: Job) -> TokenManager:
    """As a user makes it, with waits that fit into a segment."""
    policy = RefreshPolicy(
        retry_after=0.5,
        retry_after_max=BACKOFF,
        refusal_cooldown=COOLDOWN,
        refusal_cooldown_max=COOLDOWN,
        recheck=0.5,
    )
    return TokenManager(grant_of(job), store=store_of(job), policy=policy, timeout=TIMEOUT)


# -- writing down ----------------------------------------------------------------------------------

_requests: ContextVar[list[Sent]] = ContextVar("_requests")


@dataclass
class Diary:
    """Writes down the calls of this process; a child of a fork begins its own."""

    job: Job
    _pid: int = 0
    _file: TextIO = sys.stdout
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Write down the call that the block makes. No error leaves it."""
        began, sent = now(), list[Sent]()
        token = _requests.set(sent)
        error = message = foreign = ""
        try:
            yield
        except TokenError as raised:
            error, message = type(raised).__name__, str(raised)
        except Exception as raised:  # noqa: BLE001  an API may fail in many ways
            foreign = type(raised).__name__
        finally:
            _requests.reset(token)
        self._write(began, tuple(sent), error, message, foreign)

    def _write(
        self, began: float, sent: tuple[Sent, ...], error: str, message: str, foreign: str
    ) -> None:
        process = f"{self.job.slot}.{os.getpid()}"
        call = Call(
            process=process,
            identity=self.job.identity,
            places=(process, *self.job.places),
            began=began,
            ended=now(),
            timeout=TIMEOUT,
            requests=sent,
            error=error,
            message=message,
            foreign=foreign,
        )
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                path = Path(self.job.history, f"{process}.jsonl")
                self._file = path.open("a", encoding="utf-8")
            write(self._file, call)


def _bearer(authorization: str | bytes | None) -> str:
    return digest(str(authorization or "").partition(" ")[2])


class Watched(HTTPAdapter):
    """Writes down each request at the moment at which it leaves, replays included."""

    def send(self, request: PreparedRequest, *args: object, **options: object) -> Response:
        """Send the request and record it."""
        at, token, status = now(), _bearer(request.headers.get("Authorization")), 0
        try:
            response = super().send(request, *args, **options)  # type: ignore[arg-type]
            status = response.status_code
        finally:
            _requests.get().append(Sent(at, token, status, now()))
        return response


# -- the kinds -------------------------------------------------------------------------------------


def session_of(job: Job, manager: TokenManager) -> requests.Session:
    """A session whose requests are written down."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", Watched())
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
            at, token, status = now(), _bearer(request.headers.get("Authorization")), 0
            try:
                response = await super().handle_async_request(request)
                status = response.status_code
            finally:
                _requests.get().append(Sent(at, token, status, now()))
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


KINDS: dict[str, Callable[[Job], None]] = {
    "threads": threads,
    "tasks": tasks,
    "forks": forks,
    "script": script,
}


def begun() -> Job:
    """Read the job, put this process on its simulated machine, and log everything."""
    told = json.loads(Path(os.environ[JOB]).read_text("utf-8"))
    job = Job(**{**told, "places": tuple(told["places"])})
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s")
    obey(Controls(Path(job.controls)), job.machine)
    return job


def main() -> None:
    """Do the job."""
    job = begun()
    KINDS[job.kind](job)


if __name__ == "__main__":
    main()
