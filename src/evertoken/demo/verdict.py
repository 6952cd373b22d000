"""Whether a promise was kept, broken, or could not be judged on this machine (pure).

A promise is excused only by what was measured without the library: the kernel's account of threads
that had no CPU (`cpu.py`), and the server's own clock around a grant.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

LONGEST_WAIT = 0.05
"""Seconds that a call may wait for its token after the first one; a grant takes about 0.5 s."""

MOST_OF_THE_TIME = 0.8
"""Share of the time to renew that a grant may take. The rest goes by while a call notices that the
renewal is due, a thread starts and the token is saved."""

CLIENT_GIVES_UP = 10.0
"""Seconds after which a client gives up on a grant, as `PasswordGrant` does by default. The server
still finishes it."""


class Mark(enum.Enum):
    """What became of a promise."""

    KEPT = "ok"
    BROKEN = "NOT KEPT"
    UNJUDGED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """How fast the machine granted.

    Attributes:
        longest_grant: seconds that the server spent on its slowest grant; None: not known.
        time_to_renew: seconds from when a renewal is due until calls would have to wait for it.
    """

    longest_grant: float | None
    time_to_renew: float

    @property
    def missed_renewals(self) -> bool:
        """Whether a grant took so long that a renewal started in time came too late."""
        return self._took(MOST_OF_THE_TIME * self.time_to_renew)

    @property
    def outlasted_clients(self) -> bool:
        """Whether a grant took so long that its client gave up on it and had to ask again."""
        return self._took(CLIENT_GIVES_UP)

    def _took(self, seconds: float) -> bool:
        return self.longest_grant is not None and self.longest_grant >= seconds


@dataclass(frozen=True, slots=True)
class Line:
    """One row: what was looked at, what was found, what was promised, and what became of that."""

    what: str
    found: str
    promised: str = ""
    mark: Mark | None = None


def marked(kept: bool, *, excused: bool = False) -> Mark:  # noqa: FBT001  reads as a sentence
    """The mark of a promise that was `kept` or not, `excused` by the machine or not."""
    if kept:
        return Mark.KEPT
    return Mark.UNJUDGED if excused else Mark.BROKEN


def of_calls(*, failed: int, machine: Machine) -> Mark:
    """No call fails. A call without a token fails once its client gave up on the grant."""
    return marked(failed == 0, excused=machine.outlasted_clients)


def of_unauthorized(*, unauthorized: int, expired: int, machine: Machine) -> Mark:
    """The API refuses no call. A token may expire on its way if its successor is late."""
    return marked(unauthorized == 0, excused=machine.missed_renewals and unauthorized == expired)


def of_grants(*, grants: int, lifetimes: int, machine: Machine) -> Mark:
    """One grant per lifetime, one more at most. A client that gave up asks again."""
    kept = 0 < grants <= lifetimes + 1
    return marked(kept, excused=grants > 0 and machine.outlasted_clients)


def of_leads(*, stored: int, sent: int, machine: Machine) -> Mark:
    """Each lead is stored once. One may be stored after its client gave up, but none is lost."""
    return marked(stored == sent, excused=stored > sent and machine.outlasted_clients)


def of_waits(*, longest: float, stall: float, machine: Machine) -> Mark:
    """No call waits once there is a token, except for a CPU or for a grant that is too slow."""
    excused = stall < LONGEST_WAIT or machine.missed_renewals
    return marked(longest < LONGEST_WAIT, excused=excused)


def of_revocation(*, refused: bool | None, machine: Machine) -> Mark:
    """The API refuses a revoked token; None: a request for it failed."""
    return marked(bool(refused), excused=refused is None and machine.outlasted_clients)
