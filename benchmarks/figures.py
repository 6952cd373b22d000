"""The figures that pages and pictures show: each is read in one place, from `results/`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from benchmarks.host import Load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RESULTS = os.path.join(os.path.dirname(__file__), "results")

FLEET = os.path.join(RESULTS, "simulated_fleet.json")

OURS = "evertoken"
"""In what the tables call this library, however it is used."""

NO_LIBRARY = ("static header", "by hand")
"""Begin what the tables call the peers that are no library."""


def longest_wait(data: Mapping[str, Any], name: str, threads: int = 1) -> str:
    """Milliseconds that a call of the peer `name` waited at most, over all rounds of `stall`."""
    return f"{max(data[f'{threads} threads'][name]['max_ms']):.1f}"


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of the benchmarks.

    Attributes:
        circumstances: when, where and with which versions.
        load: of the machine, before the run.
        results: of each benchmark, as `report.Result` has them.
        fleet: the scenarios of `simulated_fleet`, by name.
    """

    circumstances: Mapping[str, str]
    load: Load
    results: Mapping[str, Any]
    fleet: Mapping[str, Any]

    @classmethod
    def read(cls, directory: str = RESULTS, fleet: str = FLEET) -> Self:
        """The results that are kept in the tree, or in another folder."""
        with open(os.path.join(directory, "results.json"), encoding="utf-8") as file:
            run = json.load(file)
        with open(fleet, encoding="utf-8") as file:
            scenarios = {scenario["name"]: scenario for scenario in json.load(file)}
        return cls(run["circumstances"], Load(**run["load"]), run["results"], scenarios)

    def cell(self, benchmark: str, row: str, column: str, *, table: int = 0) -> str:
        """A cell of a table as the table shows it, without its spread; empty: it has none."""
        found = self.results[benchmark]["tables"][table]
        return next((cell for title, cell in _column(found, column) if title == row), "")

    def rivals(self, benchmark: str, column: str, *, table: int = 0) -> list[tuple[float, str]]:
        """Every library but this one that has a figure there, the least first."""
        cells = _column(self.results[benchmark]["tables"][table], column)
        return sorted(
            (float(cell), title)
            for title, cell in cells
            if cell and OURS not in title and not title.startswith(NO_LIBRARY)
        )


def _column(table: Mapping[str, Any], column: str) -> Iterator[tuple[str, str]]:
    """The peer and the figure of each row."""
    place: int = table["columns"].index(column)
    rows: Sequence[Sequence[str]] = table["rows"]
    for row in rows:
        if len(row) == len(table["columns"]):
            yield row[0], row[place].partition(" ")[0]
