"""A remote store that answers on demand."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from evertoken import Token
from evertoken.core.entry import Entry
from support.fleet import BOUND

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from evertoken import TokenKey
    from evertoken.core.effects import Hold


class SlowStore:
    """A remote store whose answer waits at a gate."""

    recheck = 10.0

    def __init__(self) -> None:
        self.loads = 0
        self.gate = threading.Event()

    def load(self, key: TokenKey) -> Entry | None:
        del key
        self.loads += 1
        assert self.gate.wait(BOUND)
        return Entry.of_token(Token("shared", 0.0, 1.0))

    def save(self, key: TokenKey, entry: Entry) -> Entry | None:
        raise NotImplementedError

    def lock(self, key: TokenKey, *, timeout: float) -> AbstractContextManager[Hold]:
        raise NotImplementedError
