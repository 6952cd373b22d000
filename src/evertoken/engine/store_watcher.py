"""Polls a store across a network in the background, so that no request hangs with it."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.entry import Entry
    from evertoken.core.instant import Instant
    from evertoken.core.token import TokenKey
    from evertoken.ports import RemoteStore

    Merge = Callable[[RemoteStore, Entry | None, Instant], None]

POLL_WAIT = 0.02
"""Seconds that a request with a usable token waits for its poll; a healthy store needs less."""

POLL_NOW_WAIT = 1.0
"""Seconds that a call waits for a poll after an API refused its token."""


class StoreWatcher:
    """Polls one store, one poll at a time and at most one per the store's `recheck`.

    What a poll finds is merged when it comes, however late. The request that caused the poll waits
    `POLL_WAIT` for it, so that the first one after hours does not send a revoked token. Other
    threads go on with the token that they have until the poll is done.
    """

    __slots__ = ("_guard", "_polled_at", "_polling", "_store")

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        self._polled_at = -math.inf
        self.renew_in_child()

    def renew_in_child(self) -> None:
        """Forget a poll that was under way in a thread of the parent."""
        self._guard = threading.Lock()  # guards _polling and _polled_at
        self._polling: threading.Event | None = None

    def poll(self, key: TokenKey, now: Instant, merge: Merge, *, urgent: bool = False) -> None:
        """Poll unless it is too early, and wait for the result a little; longer if `urgent`.

        Args:
            key: whose token.
            now: when the caller came.
            merge: called with the store, its entry and when that came.
            urgent: whether to poll however short ago the last poll was.
        """
        with self._guard:
            early = now.boot - self._polled_at < self._store.recheck
            if early and not urgent:
                return
            started = self._polling is None and self._start(key, now, merge)
            polling = self._polling
        if polling is not None and (started or urgent):
            polling.wait(POLL_NOW_WAIT if urgent else POLL_WAIT)

    def _start(self, key: TokenKey, now: Instant, merge: Merge) -> bool:
        self._polled_at = now.boot
        polling = threading.Event()
        thread = threading.Thread(
            target=self._run, args=(key, now, merge, polling), name="evertoken-poll", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            return False  # no thread can start, as at interpreter exit
        self._polling = polling
        return True

    def _run(self, key: TokenKey, now: Instant, merge: Merge, polling: threading.Event) -> None:
        try:
            merge(self._store, self._store.load(key), clock.elapsed(now))
        finally:
            with self._guard:
                self._polling = None
            polling.set()
