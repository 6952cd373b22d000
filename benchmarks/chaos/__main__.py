"""Run segments, each in a process of its own, and write what they came to."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks.chaos import report
from benchmarks.chaos.segment import run
from benchmarks.chaos.summary import summary
from benchmarks.host import processor

if TYPE_CHECKING:
    from benchmarks.chaos.summary import Summary

SEGMENT = 300.0
"""Seconds of a segment."""


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="Break a fleet, and read what happened.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--segment", type=float, default=SEGMENT, help="seconds")
    parser.add_argument("--results", type=Path, help="a folder; a run goes on with what is missing")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def one(seed: int, seconds: float, path: Path) -> None:
    """Run a segment, and write its figures; the history too if it has a finding."""
    # unwinds, so that disks and processes do not outlive it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="chaos-") as made:
        found = summary(run(seed, seconds, Path(made)), seconds)
        if found["findings"]:
            shutil.copytree(Path(made, "outputs"), path.with_suffix(""), dirs_exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(found), "utf-8")
    draft.replace(path)


def segments(given: argparse.Namespace, place: Path) -> list[Summary]:
    """All segments: those that are there, and the others, one after the other."""
    found = []
    count = max(1, round(given.minutes * 60 / given.segment))
    seconds = min(given.segment, given.minutes * 60)
    for number in range(count):
        seed = given.seed * 1000 + number
        path = place / f"segment-{seed}.json"
        segment = _read(path)
        if segment is None or segment["seconds"] != seconds:
            command = [sys.executable, "-m", "benchmarks.chaos", "--seed", str(seed)]
            _run([*command, "--segment", str(seconds), "--one", str(path)])
            segment = _read(path)
        assert segment is not None
        print(
            f"segment {seed}: {segment['calls']} calls, {len(segment['spans'])} faults", flush=True
        )
        show(segment)
        found.append(segment)
    return found


def _read(path: Path) -> Summary | None:
    return cast("Summary", json.loads(path.read_text("utf-8"))) if path.exists() else None


def _run(command: list[str]) -> None:
    """Run it to its end; Ctrl-C reaches it, too, and it needs a while to undo what it did."""
    with subprocess.Popen(command) as process:  # noqa: S603  this very package
        try:
            status = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    if status:
        raise subprocess.CalledProcessError(status, command)


def show(segment: Summary) -> None:
    """Print each finding with the events that show it."""
    for each in segment["findings"]:
        print(f"seed {segment['seed']}, rule {each['rule']}: {each['text']}")
        for event in each["slice"]:
            print(f"    {json.dumps(event)}")


def main() -> int:
    """Run what was asked for; 1 where a promise was broken."""
    given = arguments()
    if given.one:
        one(given.seed, given.segment, given.one)
        return 0
    with tempfile.TemporaryDirectory() as made:
        place = given.results or Path(made)
        place.mkdir(parents=True, exist_ok=True)
        found = segments(given, place)
    print(report.table(found).plain())
    print(report.headline(found))
    if given.results:
        circumstances = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": f"{processor()}, {platform.system()}, Python {platform.python_version()}",
        }
        (place / "chaos.md").write_text(report.page(circumstances, found), "utf-8")
        report.picture(found, place / "chaos.svg")
    return int(any(it["findings"] for it in found))


if __name__ == "__main__":
    sys.exit(main())
