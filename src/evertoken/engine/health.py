"""Tells of a store that stopped serving, and of one that serves again, once each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.events import StoreDegraded, StoreRecovered, emit
from evertoken.ports import name_of, trouble_of
from evertoken.runtime import clock, process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evertoken.core.token import TokenKey
    from evertoken.events import Event
    from evertoken.ports import TokenStore


class Health:
    """What one manager's listener has been told of its stores.

    A store says by itself, in the log, what ails it; it may serve many managers, and each of them
    has a listener of its own.
    """

    __slots__ = ("_ailing", "_on_event", "_stores")

    def __init__(self, stores: Sequence[TokenStore], on_event: Callable[[Event], None]) -> None:
        self._stores = stores
        self._on_event = on_event
        self._ailing: dict[str, float] = {}

    def report(self, key: TokenKey) -> None:
        """Tell what has changed since the last report, as far as `key` is concerned."""
        for store in self._stores:
            event = self._change(name_of(store), trouble_of(store, key))
            if event is not None:
                emit(self._on_event, event)

    def _change(self, name: str, reason: str | None) -> Event | None:
        now = clock.since_boot()
        with process.lock():
            since = self._ailing.get(name)
            if (since is None) is (reason is None):
                return None
            if since is None:
                self._ailing[name] = now
            else:
                del self._ailing[name]
        if since is None:
            return StoreDegraded(name, reason or "")
        return StoreRecovered(name, now - since)
