"""The counts of workers, and their sum (pure)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of one worker or of all.

    Attributes:
        calls: API calls made.
        failed: calls that failed or got an unexpected answer.
        leads: leads that were sent and accepted.
        first_wait: longest wait for a first token, in seconds.
        longest_wait: longest wait for a token after that, in seconds.
        longest_stall: like `longest_wait`, but without the time in which threads of the process
            waited for a CPU. The two may come from different waits.
        first_failure: the message of the first failed call.
    """

    calls: int = 0
    failed: int = 0
    leads: int = 0
    first_wait: float = 0.0
    longest_wait: float = 0.0
    longest_stall: float = 0.0
    first_failure: str | None = None

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            calls=self.calls + other.calls,
            failed=self.failed + other.failed,
            leads=self.leads + other.leads,
            first_wait=max(self.first_wait, other.first_wait),
            longest_wait=max(self.longest_wait, other.longest_wait),
            longest_stall=max(self.longest_stall, other.longest_stall),
            first_failure=self.first_failure or other.first_failure,
        )


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of `tallies`."""
    return functools.reduce(Tally.__add__, tallies, Tally())
