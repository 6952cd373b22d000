"""Results as tables: plain for a terminal, markdown for a page."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, column names, and rows of text; the first column names the peer."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def plain(self) -> str:
        """Columns aligned: the first to the left, the others to the right."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines if i < len(line)) for i in _span(lines)]
        return "\n".join([self.title, *(_aligned(line, widths) for line in lines)])

    def markdown(self) -> str:
        """A pipe table."""
        ruler = ["---", *["--:"] * (len(self.columns) - 1)]
        width = len(self.columns)
        lines = [self.columns, ruler, *([*row, *[""] * (width - len(row))] for row in self.rows)]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _span(lines: Sequence[Sequence[str]]) -> range:
    return range(max(map(len, lines)))


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    if len(line) == 2 < len(widths):
        # a reason instead of figures: it may run over the columns
        return f"  {line[0]:{widths[0]}}  {line[1]}"
    cells = [f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)]
    return "  ".join([f"  {line[0]:{widths[0]}}", *cells])


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark found.

    Attributes:
        name: the benchmark's.
        told: what was done, in a sentence or two.
        tables: for readers.
        data: for JSON and the pictures.
    """

    name: str
    told: str
    tables: Sequence[Table]
    data: Mapping[str, object] = field(default_factory=dict)

    def plain(self) -> str:
        """For a terminal."""
        return "\n\n".join([f"== {self.name}", self.told, *(t.plain() for t in self.tables), ""])

    def markdown(self) -> str:
        """For a page."""
        return "\n\n".join([f"## {self.name}", self.told, *(t.markdown() for t in self.tables)])


def page(told: Mapping[str, str], results: Sequence[Result]) -> str:
    """All tables as one page, below the circumstances under which they were made."""
    head = "\n".join(f"- {name}: {text}" for name, text in told.items())
    return "\n\n".join(
        [f"# Results of `python -m benchmarks`\n\n{head}", *(r.markdown() for r in results)]
    )


def spread(values: Sequence[float], form: str = ".0f") -> str:
    """The median, and the lowest and highest in brackets where they differ from it."""
    low, middle, high = (
        format(value, form) for value in (min(values), statistics.median(values), max(values))
    )
    return middle if low == high else f"{middle} [{low}-{high}]"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lie; the highest one for 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
