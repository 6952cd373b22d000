"""Bounded maps, for state that grows with identities and origins."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class LRU(Generic[V]):
    """Keeps the `maxsize` most recently used values.

    It has no lock, which a fork could leave taken: each step is a single call in C, since keys are
    text. A value may disappear at any time. `cachetools.LRUCache` would need a lock, and a process
    that finds its token in a file does not import cachetools.
    """

    __slots__ = ("_kept", "_maxsize")

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._kept: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        """The value of `key`, which counts as a use; None if there is none."""
        value = self._kept.get(key)
        if value is not None:
            self._use(key)
        return value

    def put(self, key: str, value: V) -> None:
        """Keep `value`; the least recently used value may be dropped."""
        self._kept[key] = value
        self._use(key)
        with contextlib.suppress(KeyError):
            while len(self._kept) > self._maxsize:
                self._kept.popitem(last=False)

    def pop(self, key: str) -> V | None:
        """Remove and return the value of `key`; None if there is none."""
        return self._kept.pop(key, None)

    def clear(self) -> None:
        """Remove all values."""
        self._kept.clear()

    def values(self) -> list[V]:
        """All values, least recently used first."""
        return list(self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def _use(self, key: str) -> None:
        # another thread may have removed it meanwhile
        with contextlib.suppress(KeyError):
            self._kept.move_to_end(key)


class Once:
    """Remembers the last `maxsize` causes, so that each is logged once."""

    __slots__ = ("_known",)

    def __init__(self, maxsize: int = 1024) -> None:
        self._known: LRU[bool] = LRU(maxsize)

    def first(self, cause: str) -> bool:
        """Whether `cause` is new. It is remembered from now on."""
        new = self._known.get(cause) is None
        if new:
            self._known.put(cause, value=True)
        return new

    def clear(self) -> None:
        """Forget all causes."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)
