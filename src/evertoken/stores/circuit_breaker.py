"""A circuit breaker: calls a server that may hang or be unreachable, in bounded time."""

from __future__ import annotations

import enum
import math
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from evertoken.runtime import clock, process, reports

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FIRST_PAUSE = 1.0
"""Seconds without calls after a server did not answer; the pause doubles each time."""

LONGEST_PAUSE = 30.0
"""Seconds up to which the pause doubles."""

JITTER = 0.25
"""Share of a pause by which processes differ, so that a fleet does not retry all at once."""

FIRST_CONTACT = 2.0
"""Factor on the timeout until the server has answered once: DNS, TLS and cluster discovery are
slow, and CPU is scarce when many processes start.
"""

LONGEST_MESSAGE = 200
"""Characters of an error's text that are logged."""


class NoAnswer(enum.Enum):
    """Why a call returned no answer."""

    NOT_SENT = "the circuit breaker is open: nothing was sent"
    UNANSWERED = "no answer in time, or no connection: the command may still run"
    REFUSED = "the server answered with an error"


class CircuitBreaker:
    """Calls a server, and returns its answer or a `NoAnswer` in bounded time.

    After a call without an answer no call is made for a while; then one caller at a time tries
    again. The outage and the recovery are each logged once. A server that answers with an error is
    reachable: that is logged once per kind of error, and later calls are made as usual.

    Args:
        server: its name in the log.
        timeout: seconds that a call takes at most; twice that until the first answer.
        refusals: the exceptions that mean that the server answered with an error.
        quotable: the exceptions whose text may be logged. Of any other, only the type is.
    """

    def __init__(
        self,
        server: str,
        *,
        timeout: float,
        refusals: tuple[type[Exception], ...],
        quotable: tuple[type[Exception], ...],
    ) -> None:
        self._timeout = timeout * FIRST_CONTACT
        self._usual_timeout = timeout
        self._server = server
        self._refusals = refusals
        self._quotable = quotable
        self._pause = 0.0
        self._open_until = self._failed_at = -math.inf
        self._refused: dict[str, set[str]] = {}
        self._gone = ""
        self.renew_in_child()

    def renew_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may hold."""
        # Guards all attributes that change. Reentrant, since a signal handler may request a token
        # while its own thread holds this lock.
        self._guard = threading.RLock()

    def call(self, purpose: str, operation: Callable[[], T]) -> T | NoAnswer:
        """Return what `operation` returns; `purpose` names it when a refusal is logged."""
        started = clock.since_boot()
        if not self._admits(started):
            return NoAnswer.NOT_SENT
        try:
            answer = _within(operation, self._timeout)
        except self._refusals as error:
            self._note_answer()
            self._note_refusal(purpose, error)
            return NoAnswer.REFUSED
        except Exception as error:  # noqa: BLE001  after any error requests go on from memory
            self._note_failure(started, error)
            return NoAnswer.UNANSWERED
        self._note_answer()
        self._note_success(purpose)
        return answer

    @property
    def trouble(self) -> str | None:
        """Why the server is not used at present, without secrets; None if it is used."""
        with self._guard:
            return self._gone if self._pause else next(iter(self._refused), None)

    def _admits(self, now: float) -> bool:
        with self._guard:
            if now < self._open_until:
                return False
            if self._pause:
                # Half open: only this caller tries. If it hangs, the others do not.
                self._open_until = now + self._timeout
            return True

    def _note_failure(self, started: float, error: Exception) -> None:
        description = self._described(error)
        with self._guard:
            if started < self._failed_at:
                return  # sent before the pause began, so it is the same outage
            first = not self._pause
            self._gone = description if first else self._gone
            self._pause = FIRST_PAUSE if first else min(2 * self._pause, LONGEST_PAUSE)
            self._failed_at = clock.since_boot()
            self._open_until = self._failed_at + self._pause * (
                1 - JITTER * process.jitter_fraction()
            )
        if first:
            reports.warning(
                "%s is not used for now, requests go on from memory: %s", self._server, description
            )

    def _note_answer(self) -> None:
        with self._guard:
            self._timeout = self._usual_timeout
            back = self._pause > 0
            self._pause = 0.0
            self._open_until = -math.inf
        if back:
            reports.info("%s is used again", self._server)

    def _note_refusal(self, purpose: str, error: Exception) -> None:
        words = str(error).split(maxsplit=1)
        cause = f"{type(error).__name__} {words[0] if words else ''}"
        with self._guard:
            first = cause not in self._refused
            self._refused.setdefault(cause, set()).add(purpose)
        if first:
            description = self._described(error)
            reports.warning(
                "%s refuses a command, requests go on from memory: %s (%s)",
                self._server,
                description,
                purpose,
            )

    def _note_success(self, purpose: str) -> None:
        with self._guard:
            for purposes in self._refused.values():
                purposes.discard(purpose)
            over = [cause for cause, purposes in self._refused.items() if not purposes]
            for cause in over:
                del self._refused[cause]
        for cause in over:
            reports.info("%s no longer refuses (%s)", self._server, cause.strip())

    def _described(self, error: Exception) -> str:
        """The error as text, without the arguments of a command, which may include a password."""
        text = str(error).split(", with args", maxsplit=1)[0][:LONGEST_MESSAGE]
        name = type(error).__name__
        return f"{name}: {text}" if text and isinstance(error, self._quotable) else name


def _within(operation: Callable[[], T], seconds: float) -> T:
    """Return or raise the outcome of `operation`; if it takes too long, abandon it.

    Socket timeouts bound each read, but not DNS, a search through the nodes of a cluster, or a
    server that sends byte by byte.

    Raises:
        TimeoutError: it took longer than `seconds`.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(operation())
        except BaseException as error:  # noqa: BLE001  the waiting thread gets it
            answer.set_exception(error)

    try:
        threading.Thread(target=run, name="evertoken-store", daemon=True).start()
    except RuntimeError:
        run()  # no thread can start, as at interpreter exit
    try:
        return answer.result(timeout=seconds)
    except TimeoutError:
        if answer.done():
            raise
    raise TimeoutError(f"no answer within {seconds:g} s")
