"""The demo's output: a live line on a terminal, plain lines elsewhere, and the final table."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from evertoken.demo.report import Report
    from evertoken.demo.tally import Tally

PLAIN_EVERY = 2.0
"""Seconds between two lines of counts if the output is not a terminal."""


class Show(Protocol):
    """Shows the progress of the demo."""

    def phase(self, words: str) -> None:
        """Show the current phase, whose length is unknown."""

    def note(self, words: str) -> None:
        """Print a permanent line."""

    def calling(self, seconds: float) -> None:
        """Show that the workers call from now on, for `seconds`."""

    def counts(self, tally: Tally, grants: int | None, lifetimes: int) -> None:
        """Show the counts so far, now or soon."""


@contextlib.contextmanager
def live(console: Console) -> Iterator[Show]:
    """Show progress on `console` until the block ends."""
    if not console.is_terminal:
        yield _Plain(console)
        return
    # Only the words may wrap: if all three could shrink, Rich would cut the time.
    columns = (
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.description}", table_column=Column(no_wrap=False)),
        BarColumn(bar_width=8, table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console) as progress:
        yield _Live(progress)


class _Live:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("", total=None, left="")
        self._start = 0.0
        self._seconds = 0.0

    def phase(self, words: str) -> None:
        self._progress.update(self._task, description=words, left="", total=None, refresh=True)

    def note(self, words: str) -> None:
        self._progress.console.print(words)

    def calling(self, seconds: float) -> None:
        self._start, self._seconds = time.monotonic(), seconds
        self._progress.update(self._task, total=seconds)

    def counts(self, tally: Tally, grants: int | None, lifetimes: int) -> None:
        passed = min(self._seconds, time.monotonic() - self._start)
        self._progress.update(
            self._task,
            completed=passed,
            description=_words(tally, grants, lifetimes),
            left=_clock(self._seconds - passed),
        )


class _Plain:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._next = self._start

    def phase(self, words: str) -> None:
        self.note(words)

    def note(self, words: str) -> None:
        passed = time.monotonic() - self._start
        self._console.print(f"{passed:5.1f} s  {words}", soft_wrap=True)

    def calling(self, seconds: float) -> None:
        pass

    def counts(self, tally: Tally, grants: int | None, lifetimes: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PLAIN_EVERY
            self.note(_words(tally, grants, lifetimes))


def _words(tally: Tally, grants: int | None, lifetimes: int) -> str:
    granted = "" if grants is None else f"{grants} grants in {lifetimes} lifetimes, "
    return (
        f"{tally.calls} calls, {tally.failed} failed, {granted}"
        f"longest wait {tally.longest_wait * 1000:.0f} ms"
    )


def _clock(seconds: float) -> str:
    """Minutes and seconds, rounded up."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}:{rest:02}"


def table(console: Console, report: Report) -> None:
    """Print the final table, what could not be judged, and the line for scripts."""
    rows = Table(box=None, pad_edge=False)
    rows.add_column(no_wrap=True)
    rows.add_column("found", overflow="fold")
    rows.add_column("promised", overflow="fold")
    rows.add_column(no_wrap=True)
    for line in report.lines():
        rows.add_row(line.what, line.found, line.promised, line.mark.value if line.mark else "")
    console.print(rows)
    for excuse in report.excuses():
        console.print(f"not judged: {excuse}", markup=False, soft_wrap=True)
    if report.tally.first_failure is not None:
        failure = f"the first call that failed: {report.tally.first_failure}"
        console.print(failure, markup=False, soft_wrap=True)
    # for scripts: not wrapped, not coloured
    console.file.write(f"{report.summary()}\n")


def as_json(report: Report) -> None:
    """Print the report as one JSON object on one line."""
    sys.stdout.write(f"{json.dumps(report.members())}\n")
