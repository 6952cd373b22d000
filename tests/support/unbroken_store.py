"""A store whose contract suite does not reach its medium: `broken()` breaks nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore
from evertoken.testing import StoreContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken.ports import TokenStore


class TestUnbroken(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], TokenStore]:
        return lambda: FileStore(tmp_path)

    @contextlib.contextmanager
    def broken(self, number: int) -> Iterator[None]:
        del number
        yield
