"""One call of the API from a process of a host, and its line in the host's report."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING

import requests

from evertoken import BearerAuth, FileStore, PasswordGrant, TokenError, TokenManager

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken.testing import TokenServer

VARIABLE = "HOST_SETTINGS"
"""The environment variable that passes settings to the processes of a host."""

WARM_UP = 0.1
"""Seconds that an application waits at import for a token that it does not need yet."""

GATE_WITHIN = 20.0
"""Seconds after which an import continues even if its gate is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the processes of a host.

    Attributes:
        report: the file with a line per call.
        folder: of the shared `FileStore`; None: each process has only its memory.
        warm_up: request a token at import without waiting for it, so that its renewal is in flight
            when workers are forked.
        gate: the import ends only once this file exists.
        broker: the URL of celery's broker.
    """

    token_url: str
    client_id: str
    client_secret: str
    username: str
    password: str
    api_url: str
    report: str
    folder: str | None = None
    keep_fresh: bool = False
    warm_up: bool = False
    gate: str | None = None
    timeout: float = 4.0
    deadline: float = 3.0
    broker: str = ""

    @classmethod
    def of(cls, server: TokenServer, report: Path, **options: object) -> Settings:
        """The settings for a server."""
        names = ("token_url", "client_id", "client_secret", "username", "password", "api_url")
        given = {name: getattr(server, name) for name in names} | options
        return cls(report=str(report), **given)

    @classmethod
    def of_environment(cls) -> Settings:
        """The settings that `environment` has put there."""
        return cls(**json.loads(os.environ[VARIABLE]))

    def environment(self) -> dict[str, str]:
        """The variable that passes them to a process."""
        return {VARIABLE: json.dumps(asdict(self))}

    def manager(self) -> TokenManager:
        """A manager like the one an application makes at import."""
        grant = PasswordGrant(
            self.token_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            username=self.username,
            password=self.password,
            deadline=self.deadline,
        )
        store = None if self.folder is None else FileStore(self.folder)
        return TokenManager(grant, store=store, timeout=self.timeout, keep_fresh=self.keep_fresh)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API.

    Attributes:
        begun: when it began, in Unix seconds.
        failure: the type of the exception, or a status other than 200.
    """

    pid: int
    begun: float
    seconds: float
    failure: str | None


class Caller:
    """Calls the API with the `auth=` of one manager, and reports each call."""

    def __init__(self, settings: Settings) -> None:
        self.manager = settings.manager()
        self._auth = BearerAuth(self.manager)
        self._url = settings.api_url
        self._report = settings.report

    def call(self) -> None:
        """Make one call, and report it whatever happens."""
        begun, started = time.time(), time.monotonic()
        failure = self._failure()
        call = Call(os.getpid(), begun, time.monotonic() - started, failure)
        # a single write in append mode, so that lines of several processes do not mix
        report = os.open(self._report, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(report, json.dumps(astuple(call)).encode() + b"\n")
        os.close(report)

    def _failure(self) -> str | None:
        try:
            status = requests.get(self._url, auth=self._auth, timeout=30).status_code
        except Exception as error:  # noqa: BLE001  whatever it is, the call has failed
            return type(error).__name__
        return None if status == 200 else str(status)


def imported() -> Caller:
    """The caller that an application makes at import, with settings from the environment."""
    settings = Settings.of_environment()
    caller = Caller(settings)
    if settings.warm_up:
        with contextlib.suppress(TokenError):
            caller.manager.token(timeout=WARM_UP)
    end = time.monotonic() + GATE_WITHIN
    while settings.gate and not os.path.exists(settings.gate) and time.monotonic() < end:
        time.sleep(0.01)
    return caller


def reported(path: Path) -> list[Call]:
    """The calls of all processes, in the order of their ends."""
    return [Call(*json.loads(line)) for line in path.read_text().splitlines()]
