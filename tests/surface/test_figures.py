"""Pages, pictures and tables show the same figures: those of the last run of the benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import __main__ as command
from benchmarks import publish
from benchmarks.figures import RESULTS, Figures, longest_wait
from benchmarks.host import Load, circumstances

from support import pages

IDLE = Load(average=0.2, cores=2)
BUSY = Load(average=1.1, cores=2)

WRITTEN_BY_HAND = "times a static header"
"""What every ratio of a request is beside."""


@pytest.fixture(scope="module")
def figures() -> Figures:
    return Figures.read()


def picture(name: str) -> str:
    return Path(RESULTS, f"{name}.svg").read_text(encoding="utf-8")


def of(load: Load) -> Figures:
    return Figures({}, load, {}, {})


@pytest.mark.parametrize(
    "page", publish.pages(), ids=lambda page: page.relative_to(publish.ROOT).as_posix()
)
def test_a_page_shows_the_figures_of_the_last_run(page: Path, figures: Figures) -> None:
    text = page.read_text(encoding="utf-8")

    # to renew it: python -m benchmarks.publish
    assert text == publish.rendered(text, figures, page)


def test_every_figure_has_a_page_that_shows_it() -> None:
    shown = {
        found[2]
        for page in publish.pages()
        for found in publish.MARKED.finditer(page.read_text(encoding="utf-8"))
    }

    assert shown == set(publish.BLOCKS)


def test_the_picture_of_waits_shows_the_same_figures(figures: Figures) -> None:
    data = figures.results["stall"]["data"]

    for name in data["calls"]:
        longest = longest_wait(data, name)
        assert f">longest {longest} ms<" in picture("stall")
        assert figures.cell("stall", data["titles"][name], "max") == longest


def test_the_picture_of_the_hot_path_shows_the_same_figures(figures: Figures) -> None:
    data = figures.results["hot_path"]["data"]

    for name, took in data["ns"].items():
        if name != "floor_again":
            assert f">{took:,.0f}<" in picture("hot_path")


def test_the_tables_are_of_the_same_run(figures: Figures) -> None:
    tables = Path(RESULTS, "tables.md").read_text(encoding="utf-8")

    for name, text in figures.circumstances.items():
        assert f"- {name}: {text}\n" in tables
    for result in figures.results.values():
        for table in result["tables"]:
            for row in table["rows"]:
                assert f"| {' | '.join(row)} |" in tables


@pytest.mark.parametrize("load", [IDLE, BUSY])
def test_a_run_says_whether_the_machine_was_loaded(load: Load) -> None:
    said = circumstances([], load)["load average at the start"]

    assert said.startswith(f"{load.average:.1f}")
    assert ("not for publishing" in said) == load.busy
    assert load.busy == (load is BUSY)


def test_a_run_for_publishing_does_not_begin_on_a_loaded_machine() -> None:
    why = command.refused(RESULTS, BUSY, even_loaded=False)

    assert "load 1.1 on 2 cores" in why
    assert "--even-loaded" in why


@pytest.mark.parametrize(
    ("directory", "load", "even_loaded"),
    [
        (RESULTS, IDLE, False),
        (RESULTS, BUSY, True),
        ("mine", BUSY, False),
        (None, BUSY, False),
    ],
)
def test_any_other_run_begins(directory: str | None, load: Load, *, even_loaded: bool) -> None:
    assert command.refused(directory, load, even_loaded=even_loaded) == ""


def test_figures_of_a_loaded_machine_are_published_only_on_purpose() -> None:
    assert "load 1.1 on 2 cores" in publish.refused(of(BUSY), even_loaded=False)
    assert publish.refused(of(BUSY), even_loaded=True) == ""
    assert publish.refused(of(IDLE), even_loaded=False) == ""


def test_a_page_says_that_its_figures_are_of_a_loaded_machine(figures: Figures) -> None:
    said = publish.when(Figures(figures.circumstances, BUSY, {}, {}))

    assert "**The machine was loaded then (load 1.1 on 2 cores)" in said
    assert "loaded" not in publish.when(Figures(figures.circumstances, IDLE, {}, {}))


def test_no_page_has_a_ratio_beside_the_marked_places() -> None:
    for page in pages.pages():
        if page.parent != Path(RESULTS):
            unmarked = publish.MARKED.sub("", page.read_text(encoding="utf-8"))
            assert WRITTEN_BY_HAND not in unmarked, page
