"""A renewal in flight: any number of callers wait for its result, each with its own timeout."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

from evertoken.engine.naming import account_of, named
from evertoken.errors import RefreshTimeout
from evertoken.runtime import clock, mocks, pool, process
from evertoken.runtime.waiters import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.effects import RenewalRequest
    from evertoken.core.outcome import Result
    from evertoken.core.state import Snapshot
    from evertoken.runtime.waiters import Flow


TIMED_OUT = "no token within the timeout; the renewal goes on: try again, or allow more time"


class Published(NamedTuple):
    """The result of a renewal and the snapshot that followed from it."""

    result: Result
    snapshot: Snapshot


class InFlight:
    """A renewal that runs in the pool or, if no thread can run, in a caller's thread.

    Args:
        request: what the renewal is asked to do.
        run: performs the renewal and publishes its result.
        resource: the token endpoint, on which it may hang.
        longest_step: seconds. A step that takes longer is assumed to hang (a callable, DNS), and
            the renewal is abandoned.

    Attributes:
        published: its result, once available.
        inline: whether it runs in a caller's thread, which a signal handler may interrupt.
        process: the process that began it; a forked child ignores it.
    """

    __slots__ = (
        "_longest_step",
        "_resource",
        "_stepped_at",
        "_task",
        "inline",
        "process",
        "published",
        "request",
    )

    def __init__(
        self,
        request: RenewalRequest,
        run: Callable[[InFlight], None],
        *,
        resource: str,
        longest_step: float,
    ) -> None:
        self.request: RenewalRequest = request
        self.process: process.Process = process.current()
        self.published: Published | None = None
        self.inline: bool = False
        self._longest_step = longest_step
        self._resource = resource
        self._stepped_at = math.inf
        self._task = pool.Task(functools.partial(run, self), resource)

    def start(self) -> None:
        """Submit it to the pool. If no thread can run, or HTTP is mocked, run it here.

        Does nothing if it was started before, unless a signal handler's exception prevented that.
        """
        if not self.started:
            if mocks.are_in_place():
                self._task.refuse()
            else:
                pool.submit(self._task)
        self._run_if_refused()

    @property
    def started(self) -> bool:
        """Whether the pool has it; a signal handler's exception may have prevented that."""
        return self._task.submitted

    def step(self) -> None:
        """Record that a step begins."""
        self._stepped_at = clock.since_boot()

    def abandoned(self, now: float) -> bool:
        """Whether its current step has taken too long at `now`, on the clock since boot."""
        return self.published is None and now >= self._stepped_at + self._longest_step

    def publish(self, result: Result, snapshot: Snapshot) -> None:
        """Release the waiting callers."""
        self.published = Published(result, snapshot)
        self._task.waiters.notify()

    def waiting(self, *, until: float) -> Flow[Published | None]:
        """The result, or None if it was abandoned; `until` in seconds on the clock since boot.

        Raises:
            RefreshTimeout: there was no result in time. The renewal goes on.
        """
        while self.published is None:
            self._run_if_refused()
            now = clock.since_boot()
            if self.abandoned(now):
                return None
            if now >= until and self.published is None:
                raise self._timed_out()
            # a step may begin, and hang, while this waits
            end = min(until, self._stepped_at + self._longest_step, now + self._longest_step)
            yield Wait(self._task.waiters, self._has_news, end - now)
        return self.published

    def _timed_out(self) -> RefreshTimeout:
        key = self.request.snapshot.key
        return named(
            RefreshTimeout(TIMED_OUT, transient=True),
            account=None if key is None else account_of(key),
            token_url=self._resource,
        )

    def _has_news(self) -> bool:
        return self.published is not None or (self._task.refused and not self._task.claimed)

    def _run_if_refused(self) -> None:
        if self._task.refused and not self._task.claimed:
            self.inline = True
            if self._task.run():
                self._task.result()  # re-raises a signal handler's exception
