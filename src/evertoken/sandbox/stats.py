"""Counts of the server's requests: thread-safe counters, and the value that a client reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Self, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping


class StatsDocument(TypedDict):
    """`Stats` as a JSON object, whose keys are strings."""

    grants: dict[str, int]
    refused_grants: dict[str, int]
    revocations: int
    api_calls: dict[str, int]
    expired_tokens: int
    leads: int
    longest_grant: float


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the server's start, except `leads`, which counts the rows of the database.

    Attributes:
        grants: tokens granted, by grant type (`password`, `refresh_token`).
        refused_grants: refused token requests, by OAuth error code (RFC 6749 section 5.2), or by
            HTTP status if the answer has no code.
        revocations: revocation requests answered with 200.
        api_calls: API calls, by HTTP status.
        expired_tokens: API calls refused because their token had expired.
        leads: stored leads.
        longest_grant: seconds that the server spent on its slowest grant; 0 if there was none.
    """

    grants: Mapping[str, int]
    refused_grants: Mapping[str, int]
    revocations: int
    api_calls: Mapping[int, int]
    expired_tokens: int
    leads: int
    longest_grant: float

    def document(self) -> StatsDocument:
        """As a JSON object."""
        return {
            "grants": dict(self.grants),
            "refused_grants": dict(self.refused_grants),
            "revocations": self.revocations,
            "api_calls": {str(status): count for status, count in self.api_calls.items()},
            "expired_tokens": self.expired_tokens,
            "leads": self.leads,
            "longest_grant": self.longest_grant,
        }

    @classmethod
    def from_document(cls, document: StatsDocument) -> Self:
        """The inverse of `document()`."""
        return cls(
            grants=document["grants"],
            refused_grants=document["refused_grants"],
            revocations=document["revocations"],
            api_calls={int(status): count for status, count in document["api_calls"].items()},
            expired_tokens=document["expired_tokens"],
            leads=document["leads"],
            longest_grant=document["longest_grant"],
        )


class Counters:
    """Counters that are safe for many threads."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards all below: an increment is not atomic
        self._grants: Counter[str] = Counter()
        self._refused_grants: Counter[str] = Counter()
        self._api_calls: Counter[int] = Counter()
        self._revocations = 0
        self._expired_tokens = 0
        self._longest_grant = 0.0

    def granted(self, grant_type: str, *, seconds: float) -> None:
        """Count a granted token; the grant took `seconds`."""
        with self._lock:
            self._grants[grant_type] += 1
            self._longest_grant = max(self._longest_grant, seconds)

    def refused(self, error: str) -> None:
        """Count a refused token request."""
        with self._lock:
            self._refused_grants[error] += 1

    def revoked(self) -> None:
        """Count a confirmed revocation."""
        with self._lock:
            self._revocations += 1

    def called(self, status: int, *, expired: bool) -> None:
        """Count an answered API call; `expired`: its token had expired."""
        with self._lock:
            self._api_calls[status] += 1
            self._expired_tokens += expired

    def stats(self, *, leads: int) -> Stats:
        """A consistent copy of all counts."""
        with self._lock:
            return Stats(
                grants=dict(self._grants),
                refused_grants=dict(self._refused_grants),
                revocations=self._revocations,
                api_calls=dict(self._api_calls),
                expired_tokens=self._expired_tokens,
                leads=leads,
                longest_grant=self._longest_grant,
            )


counters: Counters = Counters()
