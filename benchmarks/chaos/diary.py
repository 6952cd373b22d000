"""What a worker writes down: each call, and each request at the moment at which it leaves."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from requests.adapters import HTTPAdapter

from benchmarks.chaos.history import Call, Sent, digest, now, write
from benchmarks.chaos.job import TIMEOUT
from evertoken import TokenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest, Response

    from benchmarks.chaos.job import Job

requests_sent: ContextVar[list[Sent]] = ContextVar("requests_sent")


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
        token = requests_sent.set(sent)
        error = message = foreign = ""
        try:
            yield
        except TokenError as raised:
            error, message = type(raised).__name__, str(raised)
        except Exception as raised:  # noqa: BLE001  an API may fail in many ways
            foreign = type(raised).__name__
        finally:
            requests_sent.reset(token)
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


def bearer(authorization: str | bytes | None) -> str:
    """What stands for the token in a header."""
    return digest(str(authorization or "").partition(" ")[2])


class RecordingAdapter(HTTPAdapter):
    """Writes down each request at the moment at which it leaves, replays included."""

    def send(self, request: PreparedRequest, *args: object, **options: object) -> Response:
        """Send the request and record it."""
        at, token, status = now(), bearer(request.headers.get("Authorization")), 0
        try:
            response = super().send(request, *args, **options)  # type: ignore[arg-type]
            status = response.status_code
        finally:
            requests_sent.get().append(Sent(at, token, status, now()))
        return response
