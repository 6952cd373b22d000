"""A failed renewal that is being waited out: its kind, its end, and whom it binds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evertoken.core.failure_kind import FailureKind
from evertoken.core.token import FUTURE_TOLERANCE

if TYPE_CHECKING:
    from evertoken.core.instant import Instant
    from evertoken.errors import TokenError

LONGEST_WAIT = 24 * 3600.0
"""Seconds. A stored failure that claims to last longer is not trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why no request is sent to the token endpoint for a while.

    A count of 0 is an acceptance: the credentials were refused before, but have worked since. It
    replaces the refusal in `join` and forbids nothing.

    Attributes:
        kind: whom it binds.
        at: when the renewal failed, in Unix seconds.
        until: when the endpoint may be asked again, in Unix seconds.
        error: raised to callers until then.
        count: the number of failures of this kind in a row, including this one.
        generation: its place among the tokens of its identity: a newer token clears an outage.
        credentials_hash: of the refused credentials; empty for other kinds. In an `Entry` it is
            the slow hash under the entry's salt, in a `Snapshot` the process's own fingerprint.
        at_boot: `at` on the clock since boot, if it is known and still comparable.
    """

    kind: FailureKind
    at: float
    until: float
    error: TokenError = field(compare=False)
    count: int = 1
    generation: int = 0
    credentials_hash: bytes = field(default=b"", repr=False)
    at_boot: float | None = field(default=None, repr=False, compare=False)

    @property
    def refused(self) -> bool:
        """Whether the server judged the credentials."""
        return self.kind is FailureKind.REFUSED

    def repeats(self, other: Failure | None) -> bool:
        """Whether `other` is the same failure; its times may have been converted between clocks."""
        return other is not None and self.facts == other.facts

    @property
    def facts(self) -> tuple[object, ...]:
        """The parts that do not change when it is converted between clocks."""
        return self.kind, self.generation, self.count, str(self.error)

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts the failures of one identity from old to new, the same way on every machine."""
        reading = (False, 0.0) if self.at_boot is None else (True, -self.at_boot)
        facts = self.generation, self.count, self.credentials_hash, self.until, self.at
        return *facts, *reading, type(self.error).__name__, str(self.error)

    def dated(self, now: Instant) -> Failure:
        """This failure with `at` on the clock since boot, from its age at `now` if need be."""
        if self.at_boot is not None:
            return self
        return replace(self, at_boot=now.boot - max(0.0, now.wall - self.at))

    def remaining(self, now: Instant) -> float:
        """Seconds until it ends on the clock that reaches its end first; 0 if it has ended.

        A failure from the future, or one that claims to last longer than `LONGEST_WAIT`, counts as
        ended.
        """
        age = now.wall - self.at
        if self.at_boot is not None:
            # a wall clock that was set back does not end a cool-down
            age = max(age, now.boot - self.at_boot)
        if age < -FUTURE_TOLERANCE or self.until - self.at > LONGEST_WAIT:
            return 0.0
        return max(0.0, self.until - self.at - max(0.0, age))


def remembered(failure: Failure) -> TokenError:
    """A copy of the failure's error; its message adds from when until when it is remembered."""
    error = failure.error.again()
    since, until = _utc(failure.at), _utc(failure.until)
    error.args = (f"{failure.error} (remembered since {since}, until {until})",)
    return error


def _utc(moment: float) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415  only an error needs it

    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{moment:.0f} s after 1970"
