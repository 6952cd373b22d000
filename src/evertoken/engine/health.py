"""Tells of a store that stopped serving, and of one that serves again, once each."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from evertoken.events import StoreDegraded, StoreRecovered, emit
from evertoken.ports import name_of, trouble_of
from evertoken.runtime import clock, reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
        # by store, since when; changed by one report after the other alone
        self._ailing: dict[str, float] = {}

    def report(self, key: TokenKey) -> None:
        """Have the listener told what has changed since the last report, as far as `key` goes."""
        if any(self._has_changed(name, reason) for name, reason in self._troubles(key)):
            # Looked at anew when its turn comes. Of two threads that look at the same time, the one
            # that has the older news may come last.
            reports.tell(functools.partial(self._tell, key))

    def _troubles(self, key: TokenKey) -> Iterator[tuple[str, str | None]]:
        return ((name_of(store), trouble_of(store, key)) for store in self._stores)

    def _has_changed(self, name: str, reason: str | None) -> bool:
        return (name in self._ailing) is (reason is None)

    def _tell(self, key: TokenKey) -> None:
        for name, reason in self._troubles(key):
            if not self._has_changed(name, reason):
                continue
            if reason is None:
                seconds = clock.since_boot() - self._ailing.pop(name)
                emit(self._on_event, StoreRecovered(name, seconds))
            else:
                self._ailing[name] = clock.since_boot()
                emit(self._on_event, StoreDegraded(name, reason))
