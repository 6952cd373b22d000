"""Emits an event when a store stops working, and one when it recovers."""

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
    """Tracks which stores one manager's listener knows to be degraded.

    The store itself logs what is wrong. It may serve many managers, each with its own listener.
    """

    __slots__ = ("_ailing", "_on_event", "_stores")

    def __init__(self, stores: Sequence[TokenStore], on_event: Callable[[Event], None]) -> None:
        self._stores = stores
        self._on_event = on_event
        # By store: since when. Changed only by reports, which run one at a time.
        self._ailing: dict[str, float] = {}

    def report(self, key: TokenKey) -> None:
        """Send the listener what has changed for `key` since the last report."""
        if any(self._has_changed(name, reason) for name, reason in self._troubles(key)):
            # The report checks the stores again when it runs: two threads may call this at the same
            # time, and the older finding may be queued last.
            reports.enqueue(functools.partial(self._emit_changes, key))

    def _troubles(self, key: TokenKey) -> Iterator[tuple[str, str | None]]:
        return ((name_of(store), trouble_of(store, key)) for store in self._stores)

    def _has_changed(self, name: str, reason: str | None) -> bool:
        return (name in self._ailing) is (reason is None)

    def _emit_changes(self, key: TokenKey) -> None:
        for name, reason in self._troubles(key):
            if not self._has_changed(name, reason):
                continue
            account = key.username or key.client_id
            if reason is None:
                seconds = clock.since_boot() - self._ailing.pop(name)
                event: Event = StoreRecovered(
                    name, seconds, account=account, token_url=key.token_url
                )
            else:
                self._ailing[name] = clock.since_boot()
                event = StoreDegraded(name, reason, account=account, token_url=key.token_url)
            emit(self._on_event, event)
