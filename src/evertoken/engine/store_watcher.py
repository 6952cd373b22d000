"""Polls a store across a network in the background, so that no request hangs with it."""

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
"""Seconds that a request with a usable token waits for its poll; a healthy store needs less."""

POLL_NOW_WAIT = 1.0
"""Seconds that a call waits for a poll after an API refused its token."""


class _Polling(NamedTuple):
    task: pool.Task[None]
    process: process.Process


class StoreWatcher:
    """Polls one store, one poll at a time and at most one per the store's `recheck`.

    What a poll finds is merged when it comes, however late. The request that caused the poll waits
    `POLL_WAIT` for it, so that the first one after hours does not send a revoked token. Other
    threads go on with the token that they have until the poll is done.
    """

    __slots__ = ("_polled_at", "_polling", "_store")

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        # the lock of the process guards both
        self._polled_at = -math.inf
        self._polling: _Polling | None = None

    def poll(
        self, key: TokenKey, now: Instant, merge: Merge, *, urgent: bool = False
    ) -> Flow[None]:
        """Poll unless it is too early, and wait for the result a little; longer if `urgent`.

        Args:
            key: whose token.
            now: when the caller came.
            merge: called with the store, its entry and when that came.
            urgent: whether to poll even if the last poll was just now.
        """
        with process.lock():
            early = now.boot - self._polled_at < self._store.recheck
            if early and not urgent:
                return
            polling = self._under_way() or self._begin(key, now, merge)
        # a signal handler's exception may have kept the poll that is under way from the pool
        handed_over = not polling.task.submitted
        if handed_over:
            pool.submit(polling.task)
        if handed_over or urgent:
            yield from polling.task.waiting(POLL_NOW_WAIT if urgent else POLL_WAIT)

    def _under_way(self) -> _Polling | None:
        """The poll that has not ended; a forked child ignores its parent's."""
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
