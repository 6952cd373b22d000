"""Link: calls to a server that may hang or be away; each is bounded, and none raises."""

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
"""Seconds for which a server that gave no answer is left alone; they double."""

LONGEST_PAUSE = 30.0
"""Seconds up to which they double."""

JITTER = 0.25
"""Share of a pause by which processes differ, so that a fleet does not come back at once."""

FIRST_CONTACT = 2.0
"""How much longer a call may take while the server has never answered: to resolve a name, agree on
TLS and explore a cluster takes time, and a process that starts among many hardly gets the CPU."""

LONGEST_MESSAGE = 200
"""Characters of an error's text that reach the log."""


class Lost(enum.Enum):
    """Why a call has no answer."""

    UNASKED = "the server is left alone for a moment: nothing was sent"
    UNANSWERED = "no answer in time, or no connection: it may be carried out all the same"
    REFUSED = "the server said no"


class Link:
    """Calls a server, from memory's point of view: an answer, or in bounded time the lack of one.

    After a call without an answer the server is left alone, and then tried by one caller at a
    time. One warning says that it is gone, one notice that it is back. A server that answers with
    an error is there: that is said once per kind of error, and each call is a new try.

    Args:
        server: what the log calls it.
        timeout: seconds that a call takes at most; the first contact, twice that.
        refusals: what is raised when the server said no.
        quotable: whose text may reach the log; of any other error, only the type does.
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
        self._closed_until = self._failed_at = -math.inf
        self._refused: dict[str, set[str]] = {}
        self._gone = ""
        self.renew_in_child()

    def renew_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may hold."""
        # Guards all that changes. Reentrant, since a signal handler may ask for a token while its
        # own thread is in here.
        self._guard = threading.RLock()

    def call(self, purpose: str, operation: Callable[[], T]) -> T | Lost:
        """What `operation` returns; `purpose` names it in what is said of refusals."""
        started = clock.since_boot()
        if not self._admits(started):
            return Lost.UNASKED
        try:
            answer = _within(operation, self._timeout)
        except self._refusals as error:
            self._note_answer()
            self._note_refusal(purpose, error)
            return Lost.REFUSED
        except Exception as error:  # noqa: BLE001  whatever it is, requests go on from memory
            self._note_failure(started, error)
            return Lost.UNANSWERED
        self._note_answer()
        self._note_success(purpose)
        return answer

    @property
    def trouble(self) -> str | None:
        """Why the server is not used for now, without a secret; None: it is."""
        with self._guard:
            return self._gone if self._pause else next(iter(self._refused), None)

    def _admits(self, now: float) -> bool:
        with self._guard:
            if now < self._closed_until:
                return False
            if self._pause:
                # one caller finds out; were it to hang too, all others would with it
                self._closed_until = now + self._timeout
            return True

    def _note_failure(self, started: float, error: Exception) -> None:
        told = self._told(error)
        with self._guard:
            if started < self._failed_at:
                return  # sent before the pause began: it says nothing new
            first = not self._pause
            self._gone = told if first else self._gone
            self._pause = FIRST_PAUSE if first else min(2 * self._pause, LONGEST_PAUSE)
            self._failed_at = clock.since_boot()
            self._closed_until = self._failed_at + self._pause * (
                1 - JITTER * process.jitter_fraction()
            )
        if first:
            reports.warning("%s is not used for now, memory goes on: %s", self._server, told)

    def _note_answer(self) -> None:
        with self._guard:
            self._timeout = self._usual_timeout
            back = self._pause > 0
            self._pause = 0.0
            self._closed_until = -math.inf
        if back:
            reports.info("%s is used again", self._server)

    def _note_refusal(self, purpose: str, error: Exception) -> None:
        words = str(error).split(maxsplit=1)
        cause = f"{type(error).__name__} {words[0] if words else ''}"
        with self._guard:
            first = cause not in self._refused
            self._refused.setdefault(cause, set()).add(purpose)
        if first:
            told = self._told(error)
            reports.warning("%s refuses, memory goes on: %s (%s)", self._server, told, purpose)

    def _note_success(self, purpose: str) -> None:
        with self._guard:
            for purposes in self._refused.values():
                purposes.discard(purpose)
            over = [cause for cause, purposes in self._refused.items() if not purposes]
            for cause in over:
                del self._refused[cause]
        for cause in over:
            reports.info("%s no longer refuses (%s)", self._server, cause.strip())

    def _told(self, error: Exception) -> str:
        """The error in words. An unknown command is quoted with its arguments: a password's."""
        text = str(error).split(", with args", maxsplit=1)[0][:LONGEST_MESSAGE]
        name = type(error).__name__
        return f"{name}: {text}" if text and isinstance(error, self._quotable) else name


def _within(operation: Callable[[], T], seconds: float) -> T:
    """What `operation` returns or raises, if it does so in time; else it is left to itself.

    Timeouts of sockets bound each read, but neither a name's resolution, nor a search through
    the nodes of a cluster, nor a server that drips.

    Raises:
        TimeoutError: it did not.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(operation())
        except BaseException as error:  # noqa: BLE001  it belongs to who waits
            answer.set_exception(error)

    try:
        threading.Thread(target=run, name="evertoken-store", daemon=True).start()
    except RuntimeError:
        run()  # no thread is to be had, as at interpreter exit
    try:
        return answer.result(timeout=seconds)
    except TimeoutError:
        if answer.done():
            raise
    raise TimeoutError(f"no answer within {seconds:g} s")
