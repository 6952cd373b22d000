"""A run as a page with a table, and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.chaos.kinds import KINDS
from benchmarks.chaos.summary import combined
from benchmarks.report import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.chaos.summary import Summary

COLUMNS = ("fault", "times", "calls met", "of them failed", "grants beyond", "longest wait, s")


def table(segments: Sequence[Summary]) -> Table:
    """One row for each kind of fault."""
    rows = [
        [
            kind,
            f"{it['times']:,}",
            f"{it['calls']:,}",
            f"{it['failed']:,}",
            f"{it['grants']:,}",
            f"{it['longest']:.2f}",
        ]
        for kind, it in combined(segments).items()
    ]
    return Table("Faults, and the calls that met them", COLUMNS, rows)


def headline(segments: Sequence[Summary]) -> str:
    """The run in a few sentences."""
    seconds, calls, failed = (
        sum(it[name] for it in segments) for name in ("seconds", "calls", "failed")
    )
    grants, lost = (sum(it[name] for it in segments) for name in ("grants", "logins_lost"))
    faults = sum(len(it["spans"]) for it in segments)
    findings = sum(len(it["findings"]) for it in segments)
    seeds = ", ".join(str(it["seed"]) for it in segments)
    return (
        f"{seconds / 60:.0f} minutes in {len(segments)} segments (seeds {seeds}), "
        f"{faults:,} faults: {calls:,} calls, of which {failed:,} had no token; {grants:,} grants; "
        f"{lost} logins lost to faults that no client can survive. **Violations: {findings}.**"
    )


def page(circumstances: Mapping[str, str], segments: Sequence[Summary]) -> str:
    """The page of results."""
    head = "\n".join(f"- {name}: {text}" for name, text in circumstances.items())
    reasons = "\n".join(
        f"- {kind}: {KINDS[kind].why}." for kind in combined(segments) if kind in KINDS
    )
    parts = [
        "# Results of `python -m benchmarks.chaos`",
        head,
        headline(segments),
        "![Calls per second, failed calls and faults over time](chaos.svg)",
        table(segments).markdown(),
        (
            "A fault's calls are those at the places that it concerns, while it lasts; several "
            "faults may meet one call. A call fails for want of a token only where the table of "
            "faults allows it:"
        ),
        reasons,
    ]
    return "\n\n".join(parts) + "\n"


def picture(segments: Sequence[Summary], path: Path) -> None:
    """Calls per second, failed calls and faults over time."""
    import matplotlib as mpl  # noqa: PLC0415  the figures need no picture
    from matplotlib.figure import Figure  # noqa: PLC0415  likewise

    from benchmarks.plots import BLUE, DOTS, INK, ORANGE, STYLE, VERMILION  # noqa: PLC0415

    starts = [sum(len(it["timeline"]) for it in segments[:n]) for n in range(len(segments))]
    seconds = [second for it in segments for second in it["timeline"]]
    minutes = [at / 60 for at in range(len(seconds))]
    faults = [
        (start + began) / 60
        for start, it in zip(starts, segments, strict=True)
        for _, began, _ in it["spans"]
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2))
        axes = figure.subplots()
        axes.plot(minutes, [every for every, _ in seconds], color=BLUE, label="calls", lw=0.8)
        axes.plot(minutes, [bad for _, bad in seconds], color=VERMILION, label="failed", lw=0.8)
        axes.plot(faults, [-8] * len(faults), "|", color=ORANGE, label="a fault begins")
        for start in starts[1:]:
            axes.axvline(start / 60, color=INK, lw=0.5, ls=":")
        for line in axes.lines[:3]:
            line.set_rasterized(True)
        axes.set_xlabel("minutes")
        axes.set_ylabel("per second")
        axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight", dpi=DOTS)
