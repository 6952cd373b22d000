"""Lookout: looks at a store across a network in the background: no request hangs with it."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

from evertoken import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.instant import Instant
    from evertoken.ports import RemoteStore
    from evertoken.token import Entry, TokenKey

    Absorb = Callable[[RemoteStore, Entry | None, Instant], None]

GLANCE = 0.02
"""Seconds that a request with a usable token waits for a look: a healthy store answers in them."""

INSPECTION = 1.0
"""Seconds that a call waits for a look after an API refused its token."""


class Lookout:
    """Takes looks at one store, one at a time and at most one per the store's `recheck`.

    What is found is absorbed when it comes, however late. Within `GLANCE` it still counts for the
    request that had the look taken: a process that was idle for hours sends no revoked token.
    """

    __slots__ = ("_guard", "_looked_at", "_looking", "_store")

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        self._looked_at = -math.inf
        self.renew_in_child()

    def renew_in_child(self) -> None:
        """Forget a look that was under way in a thread of the parent."""
        self._guard = threading.Lock()  # guards _looking and _looked_at
        self._looking: threading.Event | None = None

    def look(self, key: TokenKey, now: Instant, absorb: Absorb, *, anew: bool = False) -> None:
        """Take a look unless it is too early, and wait for it a little; longer where `anew`.

        Args:
            key: whose token.
            now: when the caller came.
            absorb: told the store, its entry and when that came.
            anew: whether to look however short ago the last one was.
        """
        with self._guard:
            early = now.boot - self._looked_at < self._store.recheck
            if early and not anew:
                return
            started = self._looking is None and self._start(key, now, absorb)
            looking = self._looking
        if looking is not None and (started or anew):
            looking.wait(INSPECTION if anew else GLANCE)

    def _start(self, key: TokenKey, now: Instant, absorb: Absorb) -> bool:
        self._looked_at = now.boot
        looking = threading.Event()
        thread = threading.Thread(
            target=self._run,
            args=(key, now, absorb, looking),
            name="evertoken-look",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:
            return False  # no thread is to be had, as at interpreter exit
        self._looking = looking
        return True

    def _run(self, key: TokenKey, now: Instant, absorb: Absorb, looking: threading.Event) -> None:
        try:
            absorb(self._store, self._store.load(key), clock.elapsed(now))
        finally:
            with self._guard:
                self._looking = None
            looking.set()
