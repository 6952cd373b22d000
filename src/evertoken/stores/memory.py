"""A store in the process's memory: managers of one identity share a token and a lock."""

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
    """Keeps entries of up to `maxsize` identities, each until its token and its failures end.

    Revocations and logins are kept while there is room: a manager may be used again long after the
    token expired.

    Managers use the process-wide store unless they get another one. Managers with the same store
    share a token only if their credentials match: the store remembers which credentials obtained
    the token of an identity, by keyed fingerprints that never leave it.
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
            # that thread was in the middle of a change, which will never be completed
            self._empty()
        self._make_locks()

    def _empty(self) -> None:
        # created at the first write: a process that finds a token in a file does not load
        # `cachetools`
        self._entries: TLRUCache[TokenKey, Entry] | None = None
        self._claims: TLRUCache[TokenKey, float] | None = None
        # least recently used first
        self._owners: dict[TokenKey, Owner] = {}

    def _make_locks(self) -> None:
        # Guards _entries, _claims, _owners and _locks. Reentrant, since a signal handler or a
        # destructor may request a token while its own thread holds this lock.
        self._guard = threading.RLock()
        self._locks: weakref.WeakValueDictionary[TokenKey, threading.Lock] = (
            weakref.WeakValueDictionary()
        )

    def load(self, key: TokenKey) -> Entry | None:
        """The entry of `key`, or None."""
        with self._guard:
            return self._held(key)

    def save(self, key: TokenKey, entry: Entry) -> Entry:
        """Join `entry` to the stored one; returns the join."""
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

    def identities(self) -> tuple[TokenKey, ...]:
        """The identities that have an entry."""
        with self._guard:
            return () if self._entries is None else tuple(self._entries)

    def claim(self, key: TokenKey, *, seconds: float) -> bool:
        """Claim `key` for `seconds`. False if it is claimed already."""
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
        """The owner of the token of `key`; None if nobody has used it yet."""
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

        If there is no owner, these credentials become the owner. With `proof`, only credentials
        that have obtained a token in this process may use one.

        Args:
            key: the identity.
            source: where the credentials come from.
            fingerprint: of the credentials, if they have been read.
            proof: whether the owner must have obtained a token in this process.
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
        """Record that these credentials obtained a token of `key`, which makes them its owner."""
        with self._guard:
            owner = self._owners.get(key)
            # other sources stay only if they are known to give the same credentials
            if owner is None or fingerprint is None or owner.fingerprint != fingerprint:
                owner = Owner((), fingerprint, proven=True)
            self._set_owner(key, owner.joined_by(source)._replace(proven=True))

    def recognise(self, key: TokenKey, owner: Owner, fingerprint: bytes) -> None:
        """Record the fingerprint of `owner`, if it still owns the token of `key`."""
        with self._guard:
            if self._owners.get(key) == owner:
                self._owners[key] = owner._replace(fingerprint=fingerprint)

    def _set_owner(self, key: TokenKey, owner: Owner) -> None:
        self._owners.pop(key, None)
        self._owners[key] = owner
        while len(self._owners) > self._maxsize:
            # Drop its entry too: otherwise the next credentials that ask would get the token.
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
        # A manager may still hold a revoked token much later, and a login outlives its tokens.
        return math.inf
    ends = [each.until for each in entry.failures]
    return max(ends if entry.token is None else [entry.token.expires_at, *ends], default=-math.inf)


def _claimed_until(_key: TokenKey, seconds: float, now: float) -> float:
    return now + seconds


@functools.cache
def process_wide() -> MemoryStore:
    """The store that the managers of this process share by default."""
    return MemoryStore()
