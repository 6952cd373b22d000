"""Moves the times of an entry between this machine's clock and the server's.

Machines that share a Redis need not agree on the time: what is stored is on the server's clock, and
each machine works out what is left of a lifetime from the time that the server tells it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from evertoken.core.entry import Entry
    from evertoken.core.failure import Failure
    from evertoken.core.token import Token


class Reading(NamedTuple):
    """One moment on the server's clock, and when it was asked for and told on this machine's.

    All in Unix seconds. The moment lies somewhere between the two.
    """

    server: float
    asked: float
    told: float

    def arrived(self, entry: Entry) -> Entry:
        """`entry` on this machine's clock; never younger than it is."""
        return shifted(entry, self.asked - self.server)

    def sent(self, entry: Entry) -> Entry:
        """`entry` on the server's clock; never younger than it is."""
        return shifted(entry, self.server - self.told)


def shifted(entry: Entry, seconds: float) -> Entry:
    """`entry`, as a clock that is ahead by `seconds` has it. Generations are not times."""
    token = None if entry.token is None else _token(entry.token, seconds)
    return replace(
        entry, token=token, failures=tuple(_failure(each, seconds) for each in entry.failures)
    )


def _token(token: Token, seconds: float) -> Token:
    return replace(
        token, issued_at=token.issued_at + seconds, expires_at=token.expires_at + seconds
    )


def _failure(failure: Failure, seconds: float) -> Failure:
    return replace(failure, at=failure.at + seconds, until=failure.until + seconds)
