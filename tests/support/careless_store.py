"""A store that breaks the rules of `StoreContract`; runs in a separate pytest."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from evertoken import Token
from evertoken.core.entry import Entry
from evertoken.core.hold import Hold
from evertoken.testing import StoreContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken import TokenKey


class Careless:
    """A careless store of one file per identity: the last save wins, and errors are raised."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"Careless({self.last})"

    def load(self, key: TokenKey) -> Entry | None:
        path = self.folder / key.digest()
        if not path.exists():
            return None
        with path.open() as file:
            return Entry.of_token(Token(**json.load(file)))

    def save(self, key: TokenKey, entry: Entry) -> Entry:
        if entry.token is not None:
            self.last = asdict(entry.token)
            with (self.folder / key.digest()).open("w") as file:
                json.dump(self.last, file)
        return entry

    @contextlib.contextmanager
    def lock(self, key: TokenKey, *, timeout: float) -> Iterator[Hold]:
        with (self.folder / f"{key.digest()}.lock").open("w") as file:
            file.write(str(timeout))
            yield Hold.HELD


class TestCareless(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], Careless]:
        return lambda: Careless(tmp_path)
