"""What each kind of fault may do to a fleet, and why: the checker excuses nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

LEASE = 12.0
"""Seconds for which a lock in Redis outlives its holder."""

BREAKER = 31.0
"""Seconds after which a process looks again at a Redis that was away for long."""

BACKOFF = 4.0
"""Seconds of the longest back-off after a failure of the endpoint."""

SLOWEST = 2.0
"""Seconds that a slow endpoint takes, so that an answer may come so much after a fault."""

RETRY_AFTER = 3.0
"""Seconds for which a 429 asks."""

FILE_RETRY = 6.0
"""Seconds after which a process uses a folder again that failed."""

LATER = 12.0
"""Seconds after which at the latest a token that was lost is missed: its lifetime."""

LONGEST_WAIT = BREAKER
"""Seconds of the longest wait that is promised after a fault."""

SLACK = 1.0
"""Seconds that a busy machine may add to any wait."""

ALL = "the host"
"""The place that contains all others."""

BUSY = "machine busy"
"""Not injected: recorded when the harness's own timer is late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The effects of a kind of fault on the places that it concerns.

    Attributes:
        costs: grants beyond one per lifetime: `one` for each fault and identity; `each` for every
            process and lifetime, as without a store.
        stops: whose calls may fail while it lasts, if they have no usable token: nobody's, those of
            an exclusive grant, or all.
        settles: seconds after its end for which both still hold.
        reach: seconds after that in which a grant, or a lost login, may still be its effect.
        loses: whether a login may be lost, or its refresh token be posted a second time.
        why: the reason for all of these.
    """

    costs: Literal["none", "one", "each"] = "none"
    stops: Literal["none", "exclusive", "all"] = "none"
    settles: float = SLACK
    reach: float = 0.0
    loses: bool = False
    why: str


KINDS: Mapping[str, Kind] = {
    "kill": Kind(
        costs="one",
        stops="exclusive",
        settles=LEASE + SLACK,
        loses=True,
        reach=LATER,
        why="a token or a login dies with the process that has it and has not saved it; "
        "its lock in Redis ends with the lease",
    ),
    "freeze": Kind(
        costs="each",
        stops="exclusive",
        settles=LEASE + SLACK,
        loses=True,
        reach=LATER,
        why="siblings go on without the lock of a frozen process, at a slow endpoint several at "
        "once; a login has to wait for it, and its lease in Redis may end meanwhile",
    ),
    "clock step": Kind(
        costs="each",
        settles=3 * SLACK,
        why="a token whose age is no longer plausible is replaced; a renewal under way counts on "
        "from the clock with which it began, so that it and the others do not believe each "
        "other's tokens",
    ),
    "disk full": Kind(
        costs="each",
        stops="exclusive",
        settles=FILE_RETRY + SLACK,
        reach=LATER,
        loses=True,
        why="each process goes on from its memory; a login is not spent without a saved mark, and "
        "is lost if its successor cannot be saved",
    ),
    "read-only disk": Kind(
        costs="each",
        stops="exclusive",
        settles=FILE_RETRY + SLACK,
        reach=LATER,
        loses=True,
        why="as a full disk",
    ),
    "lock file removed": Kind(
        costs="one",
        loses=True,
        stops="exclusive",
        settles=BACKOFF + SLACK,
        reach=LATER,
        why="two processes hold two files for the same lock",
    ),
    "file damaged": Kind(
        costs="one",
        stops="exclusive",
        loses=True,
        settles=2 * SLACK,
        reach=SLACK,
        why="what only the file held is lost, and a process that is new knows nothing else",
    ),
    "old file restored": Kind(
        costs="one",
        stops="exclusive",
        loses=True,
        settles=2 * SLACK,
        reach=SLACK,
        why="a process that is new has only the old token and the old login",
    ),
    "Valkey stopped": Kind(
        costs="each",
        stops="exclusive",
        loses=True,
        settles=BREAKER + SLACK,
        reach=LATER,
        why="each process goes on from its memory; a login waits, and its lease may end",
    ),
    "Valkey killed": Kind(
        costs="each",
        stops="exclusive",
        loses=True,
        settles=BREAKER + SLACK,
        reach=LATER,
        why="as stopped, and it comes back empty",
    ),
    "Valkey flushed": Kind(
        costs="one",
        stops="exclusive",
        loses=True,
        settles=LEASE + SLACK,
        reach=LATER,
        why="what only Valkey held is lost, its locks too",
    ),
    "Valkey cut off": Kind(
        costs="each",
        stops="exclusive",
        loses=True,
        settles=BREAKER + SLACK,
        reach=LATER,
        why="as stopped, for one machine; the other may get the lock when its lease ends",
    ),
    "slow endpoint": Kind(why="the token in use covers it, and a caller without one waits"),
    "endpoint down": Kind(
        stops="all",
        settles=BACKOFF + SLACK + SLOWEST,
        why="no token can be granted; then the back-off",
    ),
    "one 4xx": Kind(
        stops="all",
        settles=BACKOFF + SLACK + SLOWEST,
        why="the back-off, if no token is usable",
    ),
    "garbage": Kind(
        stops="all",
        settles=BACKOFF + SLACK + SLOWEST,
        why="the back-off, if no token is usable",
    ),
    "429": Kind(
        stops="all",
        settles=max(RETRY_AFTER, BACKOFF) + SLACK + SLOWEST,
        why="the server asked for the wait",
    ),
    "token revoked": Kind(
        costs="one",
        settles=5 * SLACK,
        why="the API's 401 is answered with one renewal",
    ),
    "password rotated": Kind(
        costs="each",
        stops="all",
        settles=BACKOFF + SLACK,
        reach=LATER,
        why="until all have read the new password the old one is refused; a process that has read "
        "it adopts no token of the old one",
    ),
    "answer lost": Kind(
        costs="one",
        stops="all",
        loses=True,
        settles=BACKOFF + SLACK + SLOWEST,
        reach=LATER,
        why="the server has granted what nobody got, and the back-off begins; without grace a "
        "login dies of the repetition",
    ),
    "no DNS": Kind(
        stops="all",
        settles=BACKOFF + SLACK,
        why="nothing can be sent",
    ),
    "no threads": Kind(why="the caller that is due renews in its own call"),
    BUSY: Kind(
        costs="one",
        stops="all",
        why="no process ran in time: the machine had too much to do",
    ),
    "no descriptors": Kind(
        costs="each",
        stops="all",
        settles=FILE_RETRY + SLACK,
        reach=LATER,
        loses=True,
        why="neither a connection nor a file can be opened",
    ),
}
