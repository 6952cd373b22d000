"""The list of promises is whole, and each names a test that decides it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

ROW = re.compile(r"^\| (?P<tag>[SF]\d+) \| (?P<text>.*) \| (?P<tests>[^|]*) \|$", re.MULTILINE)

ROWS = [
    (found["tag"], found["text"], re.findall(r"\]\(([^)]+)\)", found["tests"]))
    for found in ROW.finditer((TESTS / "README.md").read_text(encoding="utf-8"))
]


def test_every_promise_has_one_row() -> None:
    assert [tag for tag, _, _ in ROWS] == [
        *(f"S{number}" for number in range(1, 65)),
        *(f"F{number}" for number in range(1, 43)),
    ]


@pytest.mark.parametrize(("tag", "text", "files"), ROWS, ids=[tag for tag, _, _ in ROWS])
def test_a_promise_names_tests_that_carry_its_tag(tag: str, text: str, files: list[str]) -> None:
    assert text
    assert files
    for name in files:
        assert re.search(rf"\b{tag}\b", (TESTS / name).read_text(encoding="utf-8")), name


def test_a_test_names_no_promise_that_is_not_in_the_list() -> None:
    known = {tag for tag, _, _ in ROWS}
    for file in TESTS.rglob("test_*.py"):
        # as a comment: `# S9`, `# S40, S62`, `# F12: why`
        for comment in re.findall(r"#((?:,? ?[SF]\d{1,2}\b)+)", file.read_text(encoding="utf-8")):
            assert set(re.findall(r"[SF]\d{1,2}", comment)) <= known, file
