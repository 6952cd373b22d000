"""Decides whether a promise was kept, broken, or could not be judged on this machine (pure).

Only measurements made without the library can excuse a promise: the kernel's count of the time that
threads waited for a CPU (`cpu.py`), and the server's own timing of a grant.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

LONGEST_WAIT = 0.05
"""Seconds a call may wait for its token after the first one. A grant takes about 0.5 s."""

MOST_OF_THE_TIME = 0.8
"""Share of the time to renew that a grant may take. The rest is needed until a call notices that
the renewal is due, a thread starts and the token is saved.
"""

CLIENT_GIVES_UP = 10.0
"""Seconds after which a client gives up on a grant, as `PasswordGrant` does by default. The server
still completes it.
"""


class Mark(enum.Enum):
    """The verdict on a promise."""

    KEPT = "ok"
    BROKEN = "NOT KEPT"
    UNJUDGED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """How fast the machine was.

    Attributes:
        longest_grant: seconds that the server spent on its slowest grant; None: unknown.
        time_to_renew: seconds from when a renewal is due until calls would have to wait for it.
    """

    longest_grant: float | None
    time_to_renew: float

    @property
    def missed_renewals(self) -> bool:
        """Whether a grant took so long that a renewal that started in time ended too late."""
        return self._took(MOST_OF_THE_TIME * self.time_to_renew)

    @property
    def outlasted_clients(self) -> bool:
        """Whether a grant took so long that its client gave up and had to ask again."""
        return self._took(CLIENT_GIVES_UP)

    def _took(self, seconds: float) -> bool:
        return self.longest_grant is not None and self.longest_grant >= seconds


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table: what was measured, the result, the promise, and the verdict."""

    what: str
    found: str
    promised: str = ""
    mark: Mark | None = None


def marked(kept: bool, *, excused: bool = False) -> Mark:  # noqa: FBT001  reads as a sentence
    """The mark for a promise that was `kept` or not; `excused`: the machine was too slow."""
    if kept:
        return Mark.KEPT
    return Mark.UNJUDGED if excused else Mark.BROKEN


def of_calls(*, failed: int, machine: Machine) -> Mark:
    """No call fails. Excused: a client gave up on a grant."""
    return marked(failed == 0, excused=machine.outlasted_clients)


def of_unauthorized(*, unauthorized: int, expired: int, machine: Machine) -> Mark:
    """The API rejects no call. Excused: tokens expired because a renewal was late."""
    return marked(unauthorized == 0, excused=machine.missed_renewals and unauthorized == expired)


def of_grants(*, grants: int, lifetimes: int, machine: Machine) -> Mark:
    """One grant per lifetime, and at most one more. Excused: a client gave up and asked again."""
    kept = 0 < grants <= lifetimes + 1
    return marked(kept, excused=grants > 0 and machine.outlasted_clients)


def of_leads(*, stored: int, sent: int, machine: Machine) -> Mark:
    """Each lead is stored once. Excused: more are stored because a client gave up on a request."""
    return marked(stored == sent, excused=stored > sent and machine.outlasted_clients)


def of_waits(*, longest: float, stall: float, machine: Machine) -> Mark:
    """No call waits after the first token. Excused: it waited for a CPU, or a grant was slow."""
    excused = stall < LONGEST_WAIT or machine.missed_renewals
    return marked(longest < LONGEST_WAIT, excused=excused)


def of_revocation(*, refused: bool | None, machine: Machine) -> Mark:
    """The API rejects a revoked token; None: a request failed."""
    return marked(bool(refused), excused=refused is None and machine.outlasted_clients)
