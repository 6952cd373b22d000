"""Moves the times of an entry between this machine's clocks and the server's.

Machines that share a Redis need not agree on the time: what is stored is on the server's clock, and
each machine works out what is left of a lifetime from the time that the server tells it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from evertoken.core.entry import Entry
    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.token import Token


class Reading(NamedTuple):
    """One moment on the server's clock, and when it was asked for and told on this machine's.

    The moment lies somewhere between the two. Ages are counted on the clock since boot where it
    is known: a wall clock that was set since would make a token younger or older than it is.

    Attributes:
        server: in Unix seconds.
        asked, told: on both clocks of this machine.
    """

    server: float
    asked: Instant
    told: Instant

    @property
    def ahead(self) -> float:
        """Seconds by which the server's clock is ahead of this machine's."""
        return self.server - self.told.wall

    def arrived(self, entry: Entry) -> Entry:
        """`entry` on this machine's clocks; nothing in it is younger than it is."""
        token = None if entry.token is None else self._arrived_token(entry.token)
        failures = tuple(map(self._arrived_failure, entry.failures))
        return replace(entry, token=token, failures=failures)

    def sent(self, entry: Entry) -> Entry:
        """`entry` on the server's clock; nothing in it is younger than it is."""
        token = None if entry.token is None else self._sent_token(entry.token)
        return replace(entry, token=token, failures=tuple(map(self._sent_failure, entry.failures)))

    def _arrived_token(self, token: Token) -> Token:
        return _dated(token, self.asked.wall - (self.server - token.issued_at))

    def _arrived_failure(self, failure: Failure) -> Failure:
        return _begun(failure, self.asked.wall - (self.server - failure.at))

    def _sent_token(self, token: Token) -> Token:
        return _dated(token, self.server - self._age(token.issued_at, token.issued_boot))

    def _sent_failure(self, failure: Failure) -> Failure:
        return _begun(failure, self.server - self._age(failure.at, failure.at_boot))

    def _age(self, wall: float, boot: float | None) -> float:
        return self.told.wall - wall if boot is None else self.told.boot - boot


def _dated(token: Token, issued_at: float) -> Token:
    return replace(token, issued_at=issued_at, expires_at=issued_at + token.lifetime)


def _begun(failure: Failure, at: float) -> Failure:
    return replace(failure, at=at, until=at + failure.until - failure.at)
