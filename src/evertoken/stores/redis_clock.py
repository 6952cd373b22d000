"""Converts the times of an entry between this machine's clocks and the Redis server's.

Machines that share a Redis server need not agree on the time: entries are stored on the server's
clock, and each machine computes the remaining lifetime from the server's time.
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
    """A reading of the server's clock, with this machine's time before and after it.

    The reading was taken between the two. Ages are counted on the clock since boot if possible:
    setting the wall clock would make a token look younger or older.

    Attributes:
        server: in Unix seconds.
        asked, answered: before and after, on both clocks of this machine.
    """

    server: float
    asked: Instant
    answered: Instant

    @property
    def ahead(self) -> float:
        """Seconds by which the server's clock is ahead of this machine's wall clock."""
        return self.server - self.answered.wall

    def to_local(self, entry: Entry) -> Entry:
        """`entry` on this machine's clocks. The error makes it older, never younger."""
        token = None if entry.token is None else self._local_token(entry.token)
        failures = tuple(map(self._local_failure, entry.failures))
        # at once: the wall clock may be set before anybody looks at the entry
        return replace(entry, token=token, failures=failures).dated(self.asked)

    def to_server(self, entry: Entry) -> Entry:
        """`entry` on the server's clock. The error makes it older, never younger."""
        token = None if entry.token is None else self._server_token(entry.token)
        return replace(
            entry, token=token, failures=tuple(map(self._server_failure, entry.failures))
        )

    def _local_token(self, token: Token) -> Token:
        return _dated(token, self.asked.wall - (self.server - token.issued_at))

    def _local_failure(self, failure: Failure) -> Failure:
        return _begun(failure, self.asked.wall - (self.server - failure.at))

    def _server_token(self, token: Token) -> Token:
        return _dated(token, self.server - self._age(token.issued_at, token.issued_boot))

    def _server_failure(self, failure: Failure) -> Failure:
        return _begun(failure, self.server - self._age(failure.at, failure.at_boot))

    def _age(self, wall: float, boot: float | None) -> float:
        return self.answered.wall - wall if boot is None else self.answered.boot - boot


def _dated(token: Token, issued_at: float) -> Token:
    return replace(token, issued_at=issued_at, expires_at=issued_at + token.lifetime)


def _begun(failure: Failure, at: float) -> Failure:
    return replace(failure, at=at, until=at + failure.until - failure.at)
