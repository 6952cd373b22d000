"""The demo on a terminal: live where there is one, plain lines where there is none."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from evertoken.demo.report import Report
    from evertoken.demo.tally import Tally

PLAIN_EVERY = 2.0
"""Seconds between two lines where the output is no terminal."""


class Show(Protocol):
    """Shows how far the workers are."""

    def __call__(self, tally: Tally, grants: int | None, lifetimes: int) -> None:
        """Show it now, or soon."""


@contextlib.contextmanager
def live(console: Console, seconds: float) -> Iterator[Show]:
    """Something to show progress with, for a run of `seconds`."""
    start = time.monotonic()
    if not console.is_terminal:
        yield _Plain(console, start)
        return
    columns = (
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=seconds)

        def show(tally: Tally, grants: int | None, lifetimes: int) -> None:
            passed = min(seconds, time.monotonic() - start)
            progress.update(task, completed=passed, description=_words(tally, grants, lifetimes))

        yield show


class _Plain:
    def __init__(self, console: Console, start: float) -> None:
        self._console = console
        self._start = start
        self._next = start

    def __call__(self, tally: Tally, grants: int | None, lifetimes: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PLAIN_EVERY
            words = _words(tally, grants, lifetimes)
            self._console.print(f"{now - self._start:5.1f} s  {words}", soft_wrap=True)


def _words(tally: Tally, grants: int | None, lifetimes: int) -> str:
    granted = "" if grants is None else f"{grants} grants in {lifetimes} lifetimes, "
    return (
        f"{tally.calls} calls, {granted}{tally.failed} failed, "
        f"slowest auth {tally.longest_wait * 1000:.1f} ms"
    )


def table(console: Console, report: Report) -> None:
    """Print the closing table and the line for scripts."""
    rows = Table(box=None, pad_edge=False)
    for heading in ("", "found", "promised", ""):
        rows.add_column(heading, overflow="fold")
    for line in report.lines():
        mark = "" if not line.promised else "ok" if line.kept else "NOT KEPT"
        rows.add_row(line.what, line.found, line.promised, mark)
    console.print(rows)
    if report.tally.first_failure is not None:
        failure = f"the first call that failed: {report.tally.first_failure}"
        console.print(failure, markup=False, soft_wrap=True)
    # for scripts: never wrapped, never coloured
    console.file.write(f"{report.summary()}\n")


def as_json(report: Report) -> None:
    """Print one object, on one line."""
    sys.stdout.write(f"{json.dumps(report.members())}\n")
