"""The report of a host under load: its calls and tokens, and the promises it broke."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import evertoken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from support.host_call import Call

FOLDER = os.path.dirname(evertoken.__file__)
"""The path of the library, which marks its frames in a traceback."""

LIFETIME = 4.0
"""The lifetime of a token in seconds."""

SOONEST = 2.75
"""Seconds after which it is renewed at the earliest: a window of a quarter, with full jitter."""

LEAST_GRANTS = 3
"""The fewest tokens of a run that includes renewals."""

LATE = 0.5
"""Seconds by which the first of several token requests may be late on a busy machine."""

SLACK = 1.5
"""Seconds that a call may exceed its timeout on a busy machine."""


@dataclass(slots=True)
class Load:
    """The clients' requests to a host.

    Attributes:
        asked: the number of requests or tasks.
        lost: the outcomes of those without the expected answer.
    """

    asked: int = 0
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The activity of a host.

    Attributes:
        calls: API calls, in the order of their ends.
        granted: when each token was requested, in Unix seconds.
        denials: how often the API answered 401, replayed or not.
        hung: whether it had to be killed, because it did not end when told to.
        log: the output of the host.
    """

    calls: Sequence[Call]
    load: Load
    granted: Sequence[float]
    denials: int
    hung: bool
    log: str

    def broken_promises(
        self, *, timeout: float = 4.0, workers: int = 1, askers: int = 1, spare: int = 0
    ) -> list[str]:
        """One sentence per broken promise.

        Args:
            timeout: of the manager.
            workers: the number of processes that answer in the last lifetime of the load.
            askers: the number of processes that share no token and send their own requests.
            spare: the allowed number of grants beyond one per lifetime.
        """
        return [
            *self.failures(),
            *self.waits(timeout),
            *self._silence(workers),
            *self._excess(askers, spare),
        ]

    def pids(self, *, last: float) -> set[int]:
        """The processes that called within `last` seconds before the last call."""
        end = max((call.begun for call in self.calls), default=0.0)
        return {call.pid for call in self.calls if call.begun > end - last}

    def failures(self) -> Iterator[str]:
        """Calls that failed, and avoidable 401s."""
        if failed := [call for call in self.calls if call.failure]:
            seconds = failed[-1].begun + failed[-1].seconds - failed[0].begun
            processes = len({call.pid for call in failed})
            said = f"{len(failed)} of {len(self.calls)} calls failed for {seconds:.1f} s"
            yield f"{said} in {processes} processes: {_counted(call.failure for call in failed)}"
        if self.denials:
            yield f"the API answered 401 {self.denials} times"
        if FOLDER in self.log:
            yield "the host printed a traceback with the library in it"

    def waits(self, timeout: float) -> Iterator[str]:
        """Calls that took longer than their timeout."""
        slowest = max((call.seconds for call in self.calls), default=0.0)
        if slowest > timeout + SLACK:
            yield f"a call took {slowest:.2f} s with a timeout of {timeout:g} s"

    def _silence(self, workers: int) -> Iterator[str]:
        if lost := self.load.lost:
            yield f"{len(lost)} of {self.load.asked} requests lost by the host: {_counted(lost)}"
        answering = len(self.pids(last=LIFETIME))
        if answering < workers:
            yield f"{answering} of {workers} processes answered in the last {LIFETIME:g} s"
        if self.hung:
            yield "the host did not end when it was told to"

    def _excess(self, askers: int, spare: int) -> Iterator[str]:
        span = self.granted[-1] - self.granted[0] if self.granted else 0.0
        most = askers * (1 + int((span + LATE) / SOONEST)) + spare
        if len(self.granted) > most:
            yield f"{len(self.granted)} token requests within {span:.1f} s, expected {most} at most"
        if len(self.granted) < LEAST_GRANTS:
            yield f"{len(self.granted)} token requests: the run has seen too few renewals"


def _counted(kinds: Iterable[str | None]) -> str:
    return ", ".join(f"{kind} {count} times" for kind, count in Counter(kinds).items())
