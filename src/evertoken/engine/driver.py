"""Performs the effects of a renewal or a revocation, with blocking stores and a blocking grant."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar, assert_never

from evertoken import credentials, ownership
from evertoken.core import effects
from evertoken.core.hold import Hold
from evertoken.credentials import Credentials
from evertoken.engine.naming import account_of, describe, named, url_of
from evertoken.errors import RevocationFailed, TokenError, capture
from evertoken.ports import ClockedStore, LeasedStore, name_of
from evertoken.runtime import clock, process, reports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evertoken.core.effects import Effect, Reading, Steps
    from evertoken.core.entry import Entry
    from evertoken.core.instant import Instant
    from evertoken.core.outcome import Result
    from evertoken.core.token import Token, TokenKey
    from evertoken.engine.claim import Claim
    from evertoken.ports import TokenStore

R = TypeVar("R")


class _SlowHash:
    """Allows one slow hash at a time: each takes 16 MiB."""

    def __init__(self) -> None:
        self.renew_in_child()
        process.register(self)

    def renew_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may hold."""
        self.turn = threading.Lock()


_slow_hash = _SlowHash()


class Driver:
    """Runs one generator of effects for one manager.

    Args:
        claim: the grant, and which stored tokens its manager may use.
        stores: near to far; the first one is the process's memory.
        start: the caller's reading of both clocks, from which the renewal counts.
        publish: called with a result that waiting callers receive before the renewal has ended.
        on_step: called before each effect.
        on_unsaved: called when a store did not save an entry.
        known: the identity to revoke for. If the source of the credentials matches its owner, they
            are not read.
        account: named by the error if the credentials cannot be read; None: not known yet.
    """

    def __init__(
        self,
        claim: Claim,
        stores: Sequence[TokenStore],
        start: Instant,
        publish: Callable[[Result], None],
        *,
        on_step: Callable[[], None] | None = None,
        on_unsaved: Callable[[], None] | None = None,
        known: TokenKey | None = None,
        account: str | None = None,
    ) -> None:
        self._claim = claim
        self._stores = stores
        self._start = start
        self._publish = publish
        self._on_step = on_step
        self._on_unsaved = on_unsaved
        self._known = known
        self._account = account
        self._reading: Reading | None = None

    @property
    def identity(self) -> TokenKey | None:
        """Of the credentials that were read; None before that, or if reading failed."""
        return None if self._reading is None else self._reading.key

    def run(self, steps: Steps[R]) -> R:
        """Perform all `steps`, then release every lock that they took."""
        answer: object = None
        with ExitStack() as locks:
            while True:
                try:
                    effect = steps.send(answer)
                except StopIteration as end:
                    result: R = end.value
                    return result
                if self._on_step is not None:
                    self._on_step()
                answer = self._perform(effect, locks)

    def _perform(self, effect: Effect, locks: ExitStack) -> object:  # noqa: C901, PLR0911, PLR0912  a table
        match effect:
            case effects.ReadCredentials():
                return self._read()
            case effects.Now():
                return clock.elapsed(self._start)
            case effects.OrderingTime():
                return self._ordering_time()
            case effects.Sleep(seconds):
                clock.sleep(seconds)
            case effects.Lock(store, timeout):
                return self._lock(self._stores[store], timeout, locks)
            case effects.StillHeld(store):
                return self._still_held(self._stores[store])
            case effects.LockTimedOut(store):
                self._warn_of_lock(self._stores[store])
            case effects.Load(store):
                return self._stores[store].load(self._key)
            case effects.Save(store, entry):
                return self._save(self._stores[store], entry)
            case effects.Request(reading, refresh_token):
                return self._request(reading, refresh_token)
            case effects.InitialRefused(error):
                reports.warning("the login of the store is used instead: %s", error)
            case effects.LoginUnsaved(store):
                self._complain_of_login(self._stores[store])
            case effects.Revoke(reading, token):
                return self._revoke(reading, token)
            case effects.Hash(reading, salt):
                return self._hash(reading, salt)
            case effects.NewSalt():
                return os.urandom(16)
            case effects.MayAdopt(reading):
                return self._may_adopt(reading)
            case effects.Publish(result):
                self._publish(result)
            case _:
                assert_never(effect)
        return None

    @property
    def _key(self) -> TokenKey:
        assert self._reading is not None  # noqa: S101  every generator reads the credentials first
        return self._reading.key

    def _save(self, store: TokenStore, entry: Entry) -> Entry | None:
        saved = store.save(self._key, entry)
        if saved is None and self._on_unsaved is not None:
            self._on_unsaved()
        return saved

    def _read(self) -> Reading | TokenError:
        reading = capture(self._read_once)
        if isinstance(reading, TokenError):
            return named(reading, account=self._account, token_url=url_of(self._claim.grant))
        self._reading = reading
        return reading

    def _read_once(self) -> Reading:
        if self._known is not None and self._claim.recognised_unread(self._known):
            return effects.Reading(self._known, b"")
        found = credentials.read(self._claim.grant)
        self._claim.recognise(found.key)
        fingerprint = found.fingerprint or ownership.fingerprint(found.source)
        return effects.Reading(found.key, fingerprint, found, found.initial)

    def _may_adopt(self, reading: Reading) -> bool:
        if reading.credentials is None:
            return self._claim.admit_unread(reading.key)
        return self._claim.admit(_posted(reading), reading.fingerprint)

    def _lock(self, store: TokenStore, timeout: float, locks: ExitStack) -> Hold:
        with ExitStack() as lock:
            # a store written for version 0.1 yields a bool
            held: object = lock.enter_context(store.lock(self._key, timeout=timeout))
            if not held:
                return Hold.BUSY
            locks.push(lock.pop_all())
        return held if isinstance(held, Hold) else Hold.HELD

    def _ordering_time(self) -> float:
        """Unix seconds on the farthest store's clock, if it has one, which the fleet shares."""
        wall = clock.elapsed(self._start).wall
        farthest = self._stores[-1]
        return wall + farthest.ahead if isinstance(farthest, ClockedStore) else wall

    def _still_held(self, store: TokenStore) -> bool:
        return store.still_held(self._key) if isinstance(store, LeasedStore) else True

    def _warn_of_lock(self, store: TokenStore) -> None:
        reports.warning(
            "timed out waiting for the lock of the %s store of %s; renewing without it",
            name_of(store),
            describe(self._key),
        )

    def _complain_of_login(self, store: TokenStore) -> None:
        reports.error(
            "%s: the %s store has not taken the newest refresh token. This process has the only "
            "copy: the login ends with the process, unless a later save succeeds",
            describe(self._key),
            name_of(store),
        )

    def _request(self, reading: Reading, refresh_token: str | None) -> Token | TokenError:
        posted = _posted(reading)
        if refresh_token is None or posted.refresh is None:
            answer = capture(posted.request)
        else:
            answer = capture(functools.partial(posted.refresh, refresh_token))
        if isinstance(answer, TokenError):
            return named(answer, account=account_of(reading.key), token_url=reading.key.token_url)
        # before any store has the token, since other credentials may own the previous one
        self._claim.memory.obtained(reading.key, posted.source, reading.fingerprint)
        return answer

    def _revoke(self, reading: Reading, token: Token) -> TokenError | None:
        error = capture(lambda: self._claim.grant.revoke(token))
        if error is None:
            return None
        if not isinstance(error, RevocationFailed):
            text = f"the token was not revoked: {error}"
            error = RevocationFailed(text, transient=error.transient)
        return named(error, account=account_of(reading.key), token_url=reading.key.token_url)

    def _hash(self, reading: Reading, salt: bytes) -> bytes:
        """Slow if a store shares the hash with other processes; else a keyed hash is enough."""
        if len(self._stores) == 1:
            return hashlib.blake2b(salt, key=reading.fingerprint).digest()
        with _slow_hash.turn:
            tag = capture(lambda: _posted(reading).tag(salt))
        # A grant without `read()` hashes its current credentials, which may not be those posted.
        return b"" if isinstance(tag, TokenError) or self._changed_since(reading) else tag

    def _changed_since(self, reading: Reading) -> bool:
        found = _posted(reading)
        if found.fingerprint is not None:
            return False
        return capture(lambda: ownership.fingerprint(found.source)) != reading.fingerprint


def _posted(reading: Reading) -> Credentials:
    assert isinstance(reading.credentials, Credentials)  # noqa: S101  made by `_read_once`
    return reading.credentials
