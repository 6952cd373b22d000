"""What a worker process is told, and the manager that it makes of that."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.chaos.controls import Controls, obey
from benchmarks.chaos.kinds import BACKOFF, LEASE
from evertoken import (
    ClientCredentialsGrant,
    FileStore,
    PasswordGrant,
    RefreshPolicy,
    RefreshTokenGrant,
    TokenManager,
)

if TYPE_CHECKING:
    from evertoken.ports import Grant, TokenStore

JOB = "EVERTOKEN_CHAOS_JOB"
"""The variable with the path of the job."""

DEADLINE = 6.0
"""Seconds that a token request may take."""

TIMEOUT = 8.0
"""Seconds that a call waits for a token."""

COOLDOWN = 15.0
"""Seconds for which refused credentials are not posted again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is told.

    Attributes:
        slot: its name; a process that takes its place has the same.
        kind: one of `WORKER_KINDS`, or `uwsgi`.
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


def enter() -> Job:
    """Read the job, put this process on its simulated machine, and log everything."""
    told = json.loads(Path(os.environ[JOB]).read_text("utf-8"))
    job = Job(**{**told, "places": tuple(told["places"])})
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s")
    obey(Controls(Path(job.controls)), job.machine)
    return job
