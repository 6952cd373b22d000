"""Fixtures for tests of the clients' auth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.http_clients import clear_environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the proxies, CA bundle and `.netrc` of the user who runs the tests."""
    clear_environment(monkeypatch, tmp_path)
