"""Fixtures for tests of the clients' auth."""

from __future__ import annotations

import importlib
import urllib.request
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from support.http_clients import clear_environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def bare_environment(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    no_floor: None,  # noqa: ARG001  for its effect
) -> None:
    """Remove the proxies, CA bundle and `.netrc` of the user who runs the tests."""
    clear_environment(monkeypatch, tmp_path)
    if find_spec("niquests") is not None:
        # it reads the environment once for each process
        utils = importlib.import_module("niquests.utils")
        for name in ("getproxies", "getproxies_environment"):
            monkeypatch.setattr(utils, name, getattr(urllib.request, name))
