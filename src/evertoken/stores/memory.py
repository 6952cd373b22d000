"""The process's memory as a store: managers of one identity share a token and a lock."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING, Self

from evertoken.core.entry import NOTHING, NOTHING_REVOKED, Entry, join_at
from evertoken.core.hold import Hold
from evertoken.ownership import Owner
from evertoken.runtime import clock, process
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import cachetools
    from cachetools import TLRUCache

    from evertoken.core.token import TokenKey
    from evertoken.ownership import Source
else:
    cachetools = lazy("cachetools")


class MemoryStore:
    """Entries of up to `maxsize` identities, each kept while its token lives or a failure lasts.

    A revocation and a login are kept for as long as there is room: a manager may come back long
    after the token has expired.

    Managers share the process-wide one unless they are given one of their own. Those that share one
    share a token only where their credentials match: the store remembers, by keyed fingerprints
    that never leave it, whose credentials obtained the token of an identity.
    """

    name = "memory"

    def __init__(self, maxsize: int = 1024) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize}")
        self._maxsize = maxsize
        self._empty()
        self._make_locks()
        process.register(self)

    def renew_in_child(self) -> None:
        """Replace every lock: its holder may be a thread of the parent."""
        if not self._guard.acquire(blocking=False):
            # that thread was amid a change, whose other half never comes
            self._empty()
        self._make_locks()

    def _empty(self) -> None:
        # made with what is first put in: who finds a token in a file needs no `cachetools`
        self._entries: TLRUCache[TokenKey, Entry] | None = None
        self._claims: TLRUCache[TokenKey, float] | None = None
        # the one that asked last is the last
        self._owners: dict[TokenKey, Owner] = {}

    def _make_locks(self) -> None:
        # Guards _entries, _claims, _owners and _locks. Reentrant, since a signal handler or a
        # destructor may ask for a token while its own thread is in here.
        self._guard = threading.RLock()
        self._locks: weakref.WeakValueDictionary[TokenKey, threading.Lock] = (
            weakref.WeakValueDictionary()
        )

    def load(self, key: TokenKey) -> Entry | None:
        """The entry of `key`, or None."""
        with self._guard:
            return self._held(key)

    def save(self, key: TokenKey, entry: Entry) -> Entry:
        """Join `entry` to what is held; returns the join."""
        with self._guard:
            joined = join_at(self._held(key) or NOTHING, entry, time.time())
            self._keep(key, joined)
            return joined

    @contextlib.contextmanager
    def lock(self, key: TokenKey, *, timeout: float) -> Iterator[Hold]:
        """Hold the lock of `key`; `BUSY` if another thread holds it beyond `timeout` seconds."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        held = lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        try:
            yield Hold.HELD if held else Hold.BUSY
        finally:
            if held:
                lock.release()

    def claim(self, key: TokenKey, *, seconds: float) -> bool:
        """Whether this is the first claim on `key` for `seconds`."""
        with self._guard:
            if self._claims is None:
                self._claims = cachetools.TLRUCache(
                    self._maxsize, _claimed_until, timer=clock.since_boot
                )
            if key in self._claims:
                return False
            self._claims[key] = seconds
            return True

    def owner(self, key: TokenKey) -> Owner | None:
        """Whose credentials the token of `key` belongs to; None: nobody has used it yet."""
        with self._guard:
            return self._owners.get(key)

    def admit(
        self,
        key: TokenKey,
        source: Source,
        *,
        fingerprint: bytes | None = None,
        proof: bool = False,
    ) -> bool:
        """Whether credentials may use a token of `key` that they did not obtain themselves.

        Makes the asker the owner if there is none, unless `proof` is wanted: then only credentials
        that have obtained a token in this process may.

        Args:
            key: whose token.
            source: where the credentials come from.
            fingerprint: of the credentials, where they have been read.
            proof: whether the owner must have obtained a token.
        """
        with self._guard:
            owner = self._owners.get(key)
            if owner is None and not proof:
                first = Owner((), fingerprint, proven=False)
                self._set_owner(key, first.joined_by(source))
                return True
            if owner is None or not owner.matches(source, fingerprint):
                return False
            self._set_owner(key, owner.joined_by(source))
            return owner.proven or not proof

    def obtained(self, key: TokenKey, source: Source, fingerprint: bytes | None) -> None:
        """Make the credentials that obtained a token of `key` its owner."""
        with self._guard:
            owner = self._owners.get(key)
            # other sources count only for the credentials that they were seen to give
            if owner is None or fingerprint is None or owner.fingerprint != fingerprint:
                owner = Owner((), fingerprint, proven=True)
            self._set_owner(key, owner.joined_by(source)._replace(proven=True))

    def recognise(self, key: TokenKey, owner: Owner, fingerprint: bytes) -> None:
        """Note the fingerprint of `owner`, if the token of `key` is still theirs."""
        with self._guard:
            if self._owners.get(key) == owner:
                self._owners[key] = owner._replace(fingerprint=fingerprint)

    def _set_owner(self, key: TokenKey, owner: Owner) -> None:
        self._owners.pop(key, None)
        self._owners[key] = owner
        while len(self._owners) > self._maxsize:
            # with its entry, from memory: the next credentials that ask would get the token
            forgotten_key = next(iter(self._owners))
            del self._owners[forgotten_key]
            if self._entries is not None:
                self._entries.pop(forgotten_key, None)

    def _held(self, key: TokenKey) -> Entry | None:
        return None if self._entries is None else self._entries.get(key)

    def _keep(self, key: TokenKey, entry: Entry) -> None:
        if self._entries is None:
            self._entries = cachetools.TLRUCache(self._maxsize, _kept_until, timer=_wall)
        self._entries[key] = entry

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self._maxsize,)


def _wall() -> float:
    return time.time()


def _kept_until(_key: TokenKey, entry: Entry, _now: float) -> float:
    if entry.revoked_through > NOTHING_REVOKED or entry.login is not None:
        # a holder of that token may come back long after, and a login outlives its tokens
        return math.inf
    ends = [each.until for each in entry.failures]
    return max(ends if entry.token is None else [entry.token.expires_at, *ends], default=-math.inf)


def _claimed_until(_key: TokenKey, seconds: float, now: float) -> float:
    return now + seconds


@functools.cache
def process_wide() -> MemoryStore:
    """The store that managers of this process share."""
    return MemoryStore()
