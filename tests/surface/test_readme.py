"""Statements that the README must contain."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_says_that_the_password_grant_is_deprecated_and_why_it_is_here() -> None:  # S11
    security = README.read_text(encoding="utf-8").partition("## Security")[2]
    assert "password grant is deprecated" in security
    assert "RFC 9700 section 2.4" in security
    assert "SquadRun's API offers nothing else" in security
