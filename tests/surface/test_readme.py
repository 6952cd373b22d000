"""Statements that the README and CONTRIBUTING must contain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support import pages

if TYPE_CHECKING:
    from pathlib import Path

README = pages.ROOT / "README.md"
CONTRIBUTING = pages.ROOT / "CONTRIBUTING.md"
PACKAGE = pages.ROOT / "src" / "evertoken"


def test_the_readme_says_that_the_password_grant_is_deprecated_and_why_it_is_here() -> None:  # S11
    security = README.read_text(encoding="utf-8").partition("## Security")[2]
    assert "password grant is deprecated" in security
    assert "RFC 9700 section 2.4" in security
    assert "SquadRun's API offers nothing else" in security


@pytest.mark.parametrize("page", [README, CONTRIBUTING], ids=pages.name_of)
def test_it_can_be_read_in_five_minutes(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 200


def test_its_two_commands_are_the_demo_and_the_tests() -> None:
    demo, tests = (b.text for b in pages.blocks_of(README) if b.language == "sh")
    assert demo.rstrip().endswith(".venv/bin/evertoken demo")
    assert ".venv/bin/python -m pytest" in tests


def test_the_last_section_is_the_changes_and_their_dates() -> None:
    sections = re.findall(r"^## (.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    changes = README.read_text(encoding="utf-8").partition("\n## Changes\n")[2]
    assert sections[-1] == "Changes"
    assert re.search(r"^\d\.\d\.\d \(\d{4}-\d\d-\d\d\)", changes, re.MULTILINE)
    assert "\nLicence: MIT." in changes


def test_the_map_names_every_module() -> None:
    found = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    found |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    layout = CONTRIBUTING.read_text(encoding="utf-8").partition("## The layout")[2]
    rows = re.findall(r"^\| (`.*?) \|", layout.partition("\n## ")[0], re.MULTILINE)
    named = {
        name.strip("/").removesuffix(".py")
        for row in rows
        for name in re.findall(r"`([^`]+)`", row)
    }
    assert named == found
