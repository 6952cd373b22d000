"""Polls a remote store in the background, so that no request hangs on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from evertoken.runtime import clock, pool, process

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.entry import Entry
    from evertoken.core.instant import Instant
    from evertoken.core.token import TokenKey
    from evertoken.ports import RemoteStore
    from evertoken.runtime.waiters import Flow

    Merge = Callable[[RemoteStore, Entry | None, Instant], None]

POLL_WAIT = 0.02
"""Seconds a request with a usable token waits for its poll; a healthy store needs less."""

POLL_NOW_WAIT = 1.0
"""Seconds a call waits for a poll after an API rejected its token."""


class _Polling(NamedTuple):
    task: pool.Task[None]
    process: process.Process


class StoreWatcher:
    """Polls one store, one poll at a time and at most one per the store's `recheck`.

    The result of a poll is merged when it arrives, however late. The request that started the poll
    waits `POLL_WAIT` for it, so that the first request after hours does not send a revoked token.
    Other threads use the current token until the poll is done.
    """

    __slots__ = ("_polled_at", "_polling", "_store")

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        # both are guarded by the lock of the process
        self._polled_at = -math.inf
        self._polling: _Polling | None = None

    def poll(
        self, key: TokenKey, now: Instant, merge: Merge, *, urgent: bool = False
    ) -> Flow[None]:
        """Poll, unless the last poll was too recent, and wait briefly for the result.

        Args:
            key: whose token.
            now: when the call was made.
            merge: called with the store, its entry and the time of its arrival.
            urgent: poll even if the last poll was just now, and wait longer.
        """
        with process.lock():
            early = now.boot - self._polled_at < self._store.recheck
            if early and not urgent:
                return
            polling = self._under_way() or self._begin(key, now, merge)
        # a signal handler's exception may have prevented an earlier submission
        handed_over = not polling.task.submitted
        if handed_over:
            pool.submit(polling.task)
        if handed_over or urgent:
            yield from polling.task.waiting(POLL_NOW_WAIT if urgent else POLL_WAIT)

    def _under_way(self) -> _Polling | None:
        """The running poll; a forked child ignores its parent's."""
        polling = self._polling
        if polling is None or polling.task.done or polling.process is not process.current():
            return None
        return polling

    def _begin(self, key: TokenKey, now: Instant, merge: Merge) -> _Polling:
        self._polled_at = now.boot

        def look() -> None:
            merge(self._store, self._store.load(key), clock.elapsed(now))

        self._polling = _Polling(pool.Task(look, f"store {id(self._store)}"), process.current())
        return self._polling
