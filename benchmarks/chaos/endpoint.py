"""A token server of the fleet: it writes down what it answers, and fails as the nemesis wants."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.chaos.history import Login, Post, digest, now
from evertoken.testing import Answer, TokenServer
from evertoken.testing.answers import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.chaos.history import Event
    from evertoken.testing.answers import Behaviour, Exchange, Step


UNTIL_LOGIN = 2.0
"""Seconds until a user logs in again."""


class RecordingEndpoint:
    """The token endpoint's behaviour: `fault` if there is one, and each post is written down.

    Attributes:
        fault: how all requests are answered.
        lost: since when the login seems to be lost: a refresh token was refused, and none has been
            accepted since.
    """

    def __init__(self, identity: str, record: Callable[[Event], None]) -> None:
        self.fault: Behaviour = USUAL
        self._lock = threading.Lock()  # guards _once
        self._once: tuple[Behaviour, Callable[[], None]] | None = None
        self.lost: float | None = None
        self._identity = identity
        self._record = record

    def answer_once(self, behaviour: Behaviour, met: Callable[[], None]) -> None:
        """Answer the next request by `behaviour`, and call `met` then."""
        with self._lock:
            self._once = behaviour, met

    def forget_once(self) -> None:
        """Answer the next request as all others."""
        with self._lock:
            self._once = None

    def _behaviour(self) -> Behaviour:
        with self._lock:
            once, self._once = self._once, None
        if once is None:
            return self.fault
        behaviour, met = once
        met()
        return behaviour

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Answer, and write down whether the server did its work."""
        behaviour = self._behaviour()
        form = exchange.request.form
        credential = [*form.get("refresh_token", ()), *form.get("password", ()), ""][0]
        worked = False

        def usual() -> Answer:
            nonlocal worked
            worked = True
            answer = exchange.usual()
            self._record(self._post(credential, json.loads(answer.body)))
            return answer

        yield from behaviour.steps(replace(exchange, usual=usual))
        if not worked:
            self._record(
                Post(
                    identity=self._identity,
                    at=now(),
                    outcome="fault",
                    credential=digest(credential),
                )
            )

    def _post(self, credential: str, document: dict[str, str | float]) -> Post:
        at = now()
        if document.get("error") == "invalid_grant":
            self.lost = self.lost or at
        elif "access_token" in document:
            self.lost = None
        return Post(
            identity=self._identity,
            at=at,
            outcome=str(document.get("error", "granted")),
            credential=digest(credential),
            token=digest(str(document.get("access_token", ""))),
            ends=at + float(document.get("expires_in", 0)),
            successor=digest(str(document.get("refresh_token", ""))),
        )


class Served:
    """An identity's server, and the file from which its workers read their credentials.

    Attributes:
        server: the server; it starts and ends with this.
        recording: its token endpoint.
        secrets: all credentials that workers ever had.
    """

    def __init__(
        self,
        identity: str,
        credentials: Path,
        record: Callable[[Event], None],
        *,
        lifetime: float,
        exclusive: bool,
    ) -> None:
        self.identity, self.exclusive = identity, exclusive
        self.server = TokenServer(expires_in=lifetime)
        self.server.reuse_protection = True
        self.server.refresh_keeps_access = True
        self.recording = RecordingEndpoint(identity, record)
        self.server.token_endpoint.answer_always(self.recording)
        self.credentials = credentials
        self.secrets: set[str] = set()
        self._record = record

    def write_credentials(self, secret: str) -> None:
        """Replace what the workers read, in one step."""
        self.secrets.add(secret)
        draft = self.credentials.with_suffix(".draft")
        draft.write_text(secret)
        draft.replace(self.credentials)

    def log_in(self) -> None:
        """Log in as a user does."""
        self.write_credentials(self.server.log_in())

    def log_in_if_lost(self) -> None:
        """Log in again if the login of an exclusive grant has been lost for a while."""
        lost = self.recording.lost
        if self.exclusive and lost is not None and now() - lost > UNTIL_LOGIN:
            self.recording.lost = None
            self.log_in()
            self._record(Login(identity=self.identity, at=now(), lost=lost))
