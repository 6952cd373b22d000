"""The demo's report and its display, without a run."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from evertoken.demo import Plan, display
from evertoken.demo.pace import Pace
from evertoken.demo.report import Counts, Report
from evertoken.demo.shared_store import file_lines, redis_lines
from evertoken.demo.tally import Tally, total
from evertoken.demo.verdict import Mark

TALLY = Tally(calls=160, leads=80, first_wait=0.7, longest_wait=0.002, longest_stall=0.001)
COUNTS = Counts(grants=4, longest_grant=0.5, unauthorized=0, expired=0, stored=80)

KEPT = Report(
    tally=TALLY,
    pace=Pace(expires_in=20, seconds=37.5, grant=0.5),
    lifetimes=4,
    counts=COUNTS,
    kept_in=file_lines("0123.json", 0o600),
    revoked=True,
)

BUSY = replace(KEPT, tally=replace(TALLY, longest_wait=0.105, longest_stall=0.0012))
SLOW = replace(
    KEPT,
    tally=replace(TALLY, longest_wait=1.5, longest_stall=1.4),
    counts=replace(COUNTS, longest_grant=5.2, unauthorized=1, expired=1),
)
HOPELESS = replace(
    SLOW,
    tally=replace(SLOW.tally, failed=3),
    counts=replace(COUNTS, longest_grant=12.0, grants=6, stored=81),
    revoked=None,
)


def marks(report: Report, mark: Mark) -> list[str]:
    return [line.what for line in report.lines() if line.mark is mark]


class TestReport:
    def test_is_kept_if_every_promise_is_kept(self) -> None:
        assert KEPT.kept
        assert KEPT.judged
        assert KEPT.excuses() == []

    @pytest.mark.parametrize(
        ("broken", "what"),
        [
            (replace(KEPT, tally=replace(TALLY, calls=0)), "calls made"),
            (replace(KEPT, tally=replace(TALLY, failed=1)), "calls that failed"),
            (replace(KEPT, counts=replace(COUNTS, unauthorized=1)), "401s the server answered"),
            (replace(KEPT, counts=replace(COUNTS, grants=6)), "grants"),
            (replace(KEPT, counts=replace(COUNTS, grants=0)), "grants"),
            (replace(KEPT, counts=replace(COUNTS, stored=79)), "leads stored"),
            (replace(KEPT, counts=replace(COUNTS, stored=81)), "leads stored"),
            (
                replace(KEPT, tally=replace(TALLY, longest_wait=0.1, longest_stall=0.05)),
                "longest wait after that",
            ),
            (replace(KEPT, kept_in=file_lines("a", 0o640)), "its mode"),
            (replace(KEPT, kept_in=file_lines("a", 0)), "its mode"),
            (replace(KEPT, kept_in=redis_lines("a", held=False)), "that key"),
            (replace(KEPT, revoked=False), "token once revoked"),
            (replace(KEPT, revoked=None), "token once revoked"),
        ],
    )
    def test_is_not_kept_if_one_promise_is_broken(self, broken: Report, what: str) -> None:
        assert not broken.kept
        assert broken.judged
        assert marks(broken, Mark.BROKEN) == [what]

    @pytest.mark.parametrize(
        "allowed",
        [
            replace(KEPT, counts=replace(COUNTS, grants=5)),
            replace(KEPT, tally=replace(TALLY, longest_wait=0.049, longest_stall=0.049)),
            replace(KEPT, tally=replace(TALLY, first_wait=20.0)),
            # slow, but without consequences
            replace(KEPT, counts=replace(COUNTS, longest_grant=9.0)),
        ],
    )
    def test_is_kept_up_to_the_bounds(self, allowed: Report) -> None:
        assert allowed.kept
        assert allowed.judged
        assert allowed.excuses() == []

    @pytest.mark.parametrize(
        ("report", "unjudged", "excuses"),
        [
            (
                BUSY,
                ["longest wait after that"],
                [
                    (
                        "this machine was busy: without the time spent queueing for a CPU, no call "
                        "waited longer than 1.2 ms for its token"
                    )
                ],
            ),
            (
                SLOW,
                ["401s the server answered", "longest wait after that"],
                [
                    (
                        "this machine was too slow: a grant took it 5.2 s, and a renewal has 4.0 s "
                        "until calls have to wait for it"
                    )
                ],
            ),
            (
                HOPELESS,
                [
                    "calls that failed",
                    "grants",
                    "leads stored",
                    "longest wait after that",
                    "token once revoked",
                ],
                [
                    (
                        "this machine was too slow: a grant took it 12.0 s, and a renewal has "
                        "4.0 s until calls have to wait for it"
                    ),
                    "a client gives up on a grant after 10 s",
                ],
            ),
        ],
    )
    def test_names_what_could_not_be_judged_on_this_machine(
        self, report: Report, unjudged: list[str], excuses: list[str]
    ) -> None:
        assert report.kept
        assert not report.judged
        assert marks(report, Mark.UNJUDGED) == unjudged
        assert report.excuses() == excuses

    def test_is_not_kept_if_a_slow_machine_does_not_explain_it(self) -> None:
        loose = replace(HOPELESS, kept_in=file_lines("a", 0o644))

        assert not loose.kept
        assert marks(loose, Mark.BROKEN) == ["its mode"]

    def test_of_an_account_without_counts_judges_the_rest(self) -> None:
        uncounted = replace(KEPT, counts=None)

        assert uncounted.kept
        assert not replace(uncounted, revoked=False).kept
        assert {line.what for line in KEPT.lines()} - {line.what for line in uncounted.lines()} == {
            "401s the server answered",
            "grants",
            "longest grant",
            "leads stored",
        }

    def test_shows_the_longest_grant_next_to_the_time_for_it(self) -> None:
        [line] = [line for line in KEPT.lines() if line.what == "longest grant"]

        assert (line.found, line.promised) == ("0.50 s", "a renewal has 4.0 s")

    def test_sums_up_in_one_line_of_whole_numbers(self) -> None:
        tally = replace(TALLY, longest_wait=0.0499)

        assert (
            replace(KEPT, tally=tally).summary()
            == "grants: 4 lifetimes: 4 calls: 160 failed: 0 longest-wait-ms: 49"
        )
        assert replace(KEPT, counts=None).summary().startswith("grants: - lifetimes: 4 ")

    def test_gives_programs_its_figures_in_seconds(self) -> None:
        told = json.loads(json.dumps(BUSY.members()))

        assert (told["kept"], told["judged"], len(told["excuses"])) == (True, False, 1)
        assert (told["expires_in"], told["seconds"], told["measured_grant"]) == (20, 37.5, 0.5)
        assert (told["longest_grant"], told["time_to_renew"]) == (0.5, 4.0)
        assert (told["longest_wait"], told["longest_stall"]) == (0.105, 0.0012)
        [line] = [line for line in told["lines"] if not line["judged"]]
        assert (line["what"], line["kept"]) == ("longest wait after that", True)


class TestTally:
    def test_of_all_adds_counts_up_and_keeps_the_longest_waits(self) -> None:
        first = Tally(
            calls=3, failed=1, leads=1, first_wait=0.5, longest_wait=0.1, longest_stall=0.01
        )
        second = Tally(
            calls=4,
            leads=2,
            first_wait=0.6,
            longest_wait=0.03,
            longest_stall=0.02,
            first_failure="late",
        )

        assert total([first, second]) == Tally(
            calls=7,
            failed=1,
            leads=3,
            first_wait=0.6,
            longest_wait=0.1,
            longest_stall=0.02,
            first_failure="late",
        )


class TestPlan:
    def test_writes_to_a_sandbox_and_to_an_account_only_if_asked(self) -> None:
        elsewhere = Plan(base_url="https://api.example")

        assert (Plan().writes, Plan().once) == (True, False)
        assert (elsewhere.writes, elsewhere.once) == (False, True)
        written = replace(elsewhere, write=True)
        assert (written.writes, written.once) == (True, True)


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False)


def plain(width: int = 40) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


class TestDisplay:
    def test_on_a_terminal_fits_into_80_columns_with_all_of_the_time(self) -> None:
        console = terminal(80)
        tally = replace(TALLY, calls=1342, longest_wait=0.999)
        with display.live(console) as show:
            show.calling(37.5)
            show.counts(tally, 3, 3)

        last = said(console).splitlines()[-1]
        assert re.match(
            r"\d:\d\d 1342 calls, 0 failed, 3 grants in 3 lifetimes, longest wait 999 ms \S{8}$",
            last,
        )
        assert len(last) <= 80

    @pytest.mark.parametrize("width", [40, 60])
    def test_wraps_on_a_narrow_terminal_and_cuts_nothing(self, width: int) -> None:
        console = terminal(width)
        with display.live(console) as show:
            show.calling(3599.0)
            show.counts(replace(TALLY, calls=1_234_567), 1234, 1234)

        shown = " ".join(re.sub("[━╸╺]+", "", said(console)).split())
        assert re.search(r"5\d:\d\d 1234567 calls", shown)
        assert "…" not in shown
        assert "1234 grants in 1234 lifetimes, longest wait 2 ms" in shown

    def test_on_a_terminal_shows_the_current_phase_at_once(self) -> None:
        console = terminal(80)
        with display.live(console) as show:
            show.phase("starting a local SquadRun")
            assert "starting a local SquadRun" in said(console)

    def test_elsewhere_prints_lines_that_are_never_wrapped(self) -> None:
        console = plain()
        with display.live(console) as show:
            show.phase("starting a local SquadRun")
            show.note("tokens of 20 s, so that a long line comes of it")
            show.calling(20.0)
            show.counts(TALLY, None, 4)
            show.counts(TALLY, 4, 4)

        assert [line[9:] for line in said(console).splitlines()] == [
            "starting a local SquadRun",
            "tokens of 20 s, so that a long line comes of it",
            "160 calls, 0 failed, longest wait 2 ms",
        ]

    def test_ends_with_a_table_that_marks_what_was_not_kept(self) -> None:
        console = terminal(120)
        broken = replace(
            KEPT, tally=replace(TALLY, failed=1, longest_wait=0.1, first_failure="503 [busy]")
        )
        display.table(console, broken)
        lines = said(console).splitlines()

        assert [line.split()[:3] for line in lines if "NOT KEPT" in line] == [
            ["calls", "that", "failed"]
        ]
        assert [line.split()[:2] for line in lines if "not judged" in line] == [
            ["longest", "wait"],
            ["not", "judged:"],
        ]
        assert lines[-2] == "the first call that failed: 503 [busy]"
        assert lines[-1] == broken.summary()

    def test_keeps_each_row_label_on_one_line_at_80_columns(self) -> None:
        console = plain(80)
        display.table(console, replace(BUSY, kept_in=file_lines("0" * 32 + ".json", 0o600)))

        rows = said(console).splitlines()
        assert [row[:25].strip() for row in rows[1:-2] if row[:25].strip()] == [
            line.what.strip() for line in BUSY.lines()
        ]
