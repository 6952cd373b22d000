"""What the demo found, beside what was promised (pure)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from evertoken.core.policy import RefreshPolicy
from evertoken.core.token import Token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evertoken.demo.tally import Tally

LONGEST_WAIT = 0.05
"""Seconds that a call may wait for its token once there was one; a grant takes about 0.5 s."""

PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Line:
    """One row: what was looked at, what was found, what was promised, and whether it held."""

    what: str
    found: str
    promised: str = ""
    kept: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a run; what a real account cannot tell is None.

    Attributes:
        tally: of all workers.
        lifetimes: tokens that one process alone would have needed.
        grants: tokens that the server granted.
        unauthorized: 401s that the server answered before the revocation.
        stored: leads that the server's database holds.
        kept_in: where the token was kept, as `file_lines` or `redis_lines` tells it.
        revoked: whether the API refused the token once it was revoked; None: not tried.
    """

    tally: Tally
    lifetimes: int
    grants: int | None
    unauthorized: int | None
    stored: int | None
    kept_in: Sequence[Line]
    revoked: bool | None

    def lines(self) -> list[Line]:
        """The closing table."""
        tally = self.tally
        return [
            Line("calls made", str(tally.calls), "> 0", tally.calls > 0),
            Line("calls that failed", str(tally.failed), "0", tally.failed == 0),
            *self._server_lines(),
            Line("wait for the first token", f"{tally.first_wait * 1000:.0f} ms"),
            Line(
                "longest wait after that",
                f"{tally.longest_wait * 1000:.1f} ms",
                f"< {LONGEST_WAIT * 1000:.0f} ms",
                tally.longest_wait < LONGEST_WAIT,
            ),
            *self.kept_in,
            *self._revocation_lines(),
        ]

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return all(line.kept for line in self.lines())

    def summary(self) -> str:
        """One line for scripts: whole numbers, and `-` for grants that nobody counted."""
        grants = "-" if self.grants is None else self.grants
        return (
            f"grants: {grants} lifetimes: {self.lifetimes} calls: {self.tally.calls} "
            f"failed: {self.tally.failed} longest-wait-ms: {int(self.tally.longest_wait * 1000)}"
        )

    def members(self) -> dict[str, object]:
        """All of it, for programs; times in seconds."""
        return {
            "kept": self.kept,
            "calls": self.tally.calls,
            "failed": self.tally.failed,
            "grants": self.grants,
            "lifetimes": self.lifetimes,
            "longest_wait": self.tally.longest_wait,
            "first_failure": self.tally.first_failure,
            "lines": [asdict(line) for line in self.lines()],
        }

    def _server_lines(self) -> list[Line]:
        lines = []
        if self.unauthorized is not None:
            kept = self.unauthorized == 0
            lines.append(Line("401s the server answered", str(self.unauthorized), "0", kept))
        if self.grants is not None:
            found = f"{self.grants} in {self.lifetimes} lifetimes"
            kept = 0 < self.grants <= self.lifetimes + 1
            lines.append(Line("grants", found, "one each, +1 at most", kept))
        if self.stored is not None:
            found, promised = str(self.stored), f"{self.tally.leads} sent"
            lines.append(Line("leads stored", found, promised, self.stored == self.tally.leads))
        return lines

    def _revocation_lines(self) -> list[Line]:
        if self.revoked is None:
            return []
        found = "refused by the API" if self.revoked else "not refused"
        return [Line("token once revoked", found, "refused by the API", self.revoked)]


def file_lines(name: str, mode: int) -> list[Line]:
    """A token file of that name and those permission bits."""
    return [
        Line("token file", name),
        Line("its mode", f"{mode:04o}", f"{PRIVATE:04o}", mode == PRIVATE),
    ]


def redis_lines(name: str, *, held: bool) -> list[Line]:
    """A key of Redis, and whether it holds a token."""
    found = "holds a token" if held else "holds none"
    return [Line("Redis key", name), Line("that key", found, "holds a token", held)]


def lifetimes(seconds: float, expires_in: float) -> int:
    """Tokens that one process alone may need in `seconds`, renewing each as early as it may."""
    token = Token(value="", issued_at=0.0, expires_at=expires_in)
    in_use = RefreshPolicy().due_at(token, jitter_fraction=1.0).wall
    return max(1, math.ceil(seconds / in_use))
