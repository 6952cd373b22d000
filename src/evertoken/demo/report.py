"""The report of a run: what was measured, and what was promised (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evertoken.demo import verdict
from evertoken.demo.verdict import LONGEST_WAIT, Line, Machine, Mark, marked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evertoken.demo.pace import Pace
    from evertoken.demo.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The server's counts. A real account has none.

    Attributes:
        grants: tokens granted.
        longest_grant: seconds the server spent on the slowest grant.
        unauthorized: API calls answered with 401 before the revocation.
        expired: those whose token had expired.
        stored: leads in the database.
    """

    grants: int
    longest_grant: float
    unauthorized: int
    expired: int
    stored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a run.

    Attributes:
        tally: the counts of all workers.
        pace: the run's times.
        lifetimes: the number of tokens that a single process would have needed.
        counts: the server's; None for a real account.
        kept_in: the lines about the stored token, from `shared_store.lines`.
        revoked: whether the API rejected the token after its revocation; None: a request failed.
    """

    tally: Tally
    pace: Pace
    lifetimes: int
    counts: Counts | None
    kept_in: Sequence[Line]
    revoked: bool | None

    @property
    def kept(self) -> bool:
        """Whether no promise was broken. Promises that could not be judged do not count."""
        return all(line.mark is not Mark.BROKEN for line in self.lines())

    @property
    def judged(self) -> bool:
        """Whether the machine was fast enough to judge every promise."""
        return all(line.mark is not Mark.UNJUDGED for line in self.lines())

    def lines(self) -> list[Line]:
        """The rows of the final table."""
        tally = self.tally
        return [
            Line("calls made", str(tally.calls), "> 0", marked(tally.calls > 0)),
            Line(
                "calls that failed",
                str(tally.failed),
                "0",
                verdict.of_calls(failed=tally.failed, machine=self._machine),
            ),
            *self._server_lines(),
            *self._wait_lines(),
            *self.kept_in,
            self._revocation_line(),
        ]

    def excuses(self) -> list[str]:
        """Why a promise was not judged, one sentence per cause; empty if all were judged."""
        if self.judged:
            return []
        tally, machine = self.tally, self._machine
        found = []
        if tally.longest_wait >= LONGEST_WAIT > tally.longest_stall:
            found.append(
                "this machine was busy: without the time spent queueing for a CPU, no call "
                f"waited longer than {_ms(tally.longest_stall)} for its token"
            )
        if machine.missed_renewals:
            found.append(
                f"this machine was too slow: a grant took it {self._longest_grant:.1f} s, and a "
                f"renewal has {machine.time_to_renew:.1f} s until calls have to wait for it"
            )
        if machine.outlasted_clients:
            found.append(f"a client gives up on a grant after {verdict.CLIENT_GIVES_UP:.0f} s")
        return found

    def summary(self) -> str:
        """One line for scripts, in whole numbers; `-` if the grants were not counted."""
        grants = "-" if self.counts is None else self.counts.grants
        return (
            f"grants: {grants} lifetimes: {self.lifetimes} calls: {self.tally.calls} "
            f"failed: {self.tally.failed} longest-wait-ms: {int(self.tally.longest_wait * 1000)}"
        )

    def members(self) -> dict[str, object]:
        """The whole report, for programs; times in seconds."""
        counts = self.counts
        return {
            "kept": self.kept,
            "judged": self.judged,
            "excuses": self.excuses(),
            "calls": self.tally.calls,
            "failed": self.tally.failed,
            "grants": None if counts is None else counts.grants,
            "lifetimes": self.lifetimes,
            "expires_in": self.pace.expires_in,
            "seconds": self.pace.seconds,
            "measured_grant": self.pace.grant,
            "longest_grant": self._longest_grant,
            "time_to_renew": self.pace.time_to_renew,
            "first_wait": self.tally.first_wait,
            "longest_wait": self.tally.longest_wait,
            "longest_stall": self.tally.longest_stall,
            "first_failure": self.tally.first_failure,
            "lines": [_members(line) for line in self.lines()],
        }

    @property
    def _longest_grant(self) -> float | None:
        return None if self.counts is None else self.counts.longest_grant

    @property
    def _machine(self) -> Machine:
        return Machine(longest_grant=self._longest_grant, time_to_renew=self.pace.time_to_renew)

    def _server_lines(self) -> list[Line]:
        if self.counts is None:
            return []
        counts, machine, sent = self.counts, self._machine, self.tally.leads
        refused = verdict.of_unauthorized(
            unauthorized=counts.unauthorized, expired=counts.expired, machine=machine
        )
        granted = verdict.of_grants(grants=counts.grants, lifetimes=self.lifetimes, machine=machine)
        stored = verdict.of_leads(stored=counts.stored, sent=sent, machine=machine)
        return [
            Line("401s the server answered", str(counts.unauthorized), "0", refused),
            Line(
                "grants",
                f"{counts.grants} in {self.lifetimes} lifetimes",
                "1 each, +1 at most",
                granted,
            ),
            Line(
                "longest grant",
                f"{counts.longest_grant:.2f} s",
                f"a renewal has {machine.time_to_renew:.1f} s",
            ),
            Line("leads stored", str(counts.stored), f"{sent} sent", stored),
        ]

    def _wait_lines(self) -> list[Line]:
        tally = self.tally
        mark = verdict.of_waits(
            longest=tally.longest_wait, stall=tally.longest_stall, machine=self._machine
        )
        return [
            Line("wait for the first token", f"{tally.first_wait * 1000:.0f} ms"),
            Line(
                "longest wait after that",
                _ms(tally.longest_wait),
                f"< {LONGEST_WAIT * 1000:.0f} ms",
                mark,
            ),
            Line("  less queueing for a CPU", _ms(tally.longest_stall)),
        ]

    def _revocation_line(self) -> Line:
        promised = "refused by the API"
        found = {True: promised, False: "not refused", None: "a request failed"}[self.revoked]
        mark = verdict.of_revocation(refused=self.revoked, machine=self._machine)
        return Line("token once revoked", found, promised, mark)


def _members(line: Line) -> dict[str, object]:
    return {
        "what": line.what.strip(),
        "found": line.found,
        "promised": line.promised,
        "kept": line.mark is not Mark.BROKEN,
        "judged": line.mark is not Mark.UNJUDGED,
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
