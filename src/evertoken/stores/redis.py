"""A store in Redis or Valkey, shared by many machines. Requests go on without it if it is down."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from evertoken.core.entry import NOTHING, NOTHING_REVOKED, Entry, adds, demoted, join_at
from evertoken.core.token import LONGEST_LIFETIME
from evertoken.errors import discreet
from evertoken.lru import LRU, Once
from evertoken.runtime import clock, process, reports
from evertoken.runtime.extras import how_to_install
from evertoken.runtime.lazy import loading
from evertoken.stores import redis_url
from evertoken.stores.encryption import codec
from evertoken.stores.record import MAX_BYTES, UNSTORABLE, Flaw, decode, encode
from evertoken.stores.redis_clock import Reading
from evertoken.stores.redis_lock import Locks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from redis import Redis, RedisCluster

    from evertoken.core.hold import Hold
    from evertoken.core.token import TokenKey
    from evertoken.stores.encryption import EncryptionKey
    from evertoken.stores.redis_client import Server

TRIES = 5
"""How often a save is tried again after another process saved in between."""

MAX_FLAWED = 1024
"""The number of unusable entries whose reason is remembered."""

SHORTEST_KEEP = 1.0
"""Seconds for which even an expired token is kept, for callers that waited for it."""

REVOCATION_KEPT = 24 * 3600.0
"""Seconds for which a revocation is kept at least: a renewal in flight, or a sibling that was
disconnected, may still save the dead token.
"""

LOGIN_KEPT = LONGEST_LIFETIME
"""Seconds for which an unused login is kept."""

_LOAD = """
local time = redis.call('TIME')
return {redis.call('GETRANGE', KEYS[1], 0, ARGV[1]), time[1], time[2]}
"""

# The whole value is compared: after a key has expired, nothing shorter identifies an entry. A
# revocation is kept at least as long as the entry it replaces, since siblings may hold the dead
# token until then.
_REPLACE = """
if redis.call('GETRANGE', KEYS[1], 0, ARGV[4]) ~= ARGV[1] then return 0 end
local keep = tonumber(ARGV[3])
if ARGV[5] == '1' then keep = math.max(keep, redis.call('PTTL', KEYS[1])) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', string.format('%.0f', keep))
return 1
"""


class _Stored(NamedTuple):
    """The stored bytes, empty if there are none, and the server's time when it sent them."""

    value: bytes
    reading: Reading


class RedisStore:
    """Shares tokens through Redis or Valkey: one grant per lifetime for a fleet of machines.

    There are two keys per identity, in one slot of a cluster and without a user name:
    `<prefix>{<id>}:token`, which expires once nobody needs it, and `<prefix>{<id>}:lock`, held
    during a renewal. Each command ends within `timeout`, or twice that until the server has
    answered once (a save takes two commands). Failures raise nothing: requests go on from memory,
    and the failure and the recovery are each logged once. After a command without an answer nothing
    is sent for a second, then for up to 30.

    If a process dies while it holds the lock, others cannot take it for up to `lease` seconds.
    Callers without a token wait for half of their manager's `timeout`, and then go on without the
    lock. A process that holds the lock longer than its lease costs one more grant; an older token
    never replaces a newer one. The machines' clocks need not agree: times are stored on the
    server's clock.

    Args:
        client: a `redis.Redis`, a `redis.RedisCluster`, the result of `Sentinel.master_for`, or a
            URL (`redis://`, `rediss://`, `unix://`). The store makes its own client for the same
            server, with short timeouts and without retries.
        prefix: the beginning of each key; must not contain braces.
        encryption_key: a Fernet key, or several: the first encrypts, all decrypt. Needs the extra
            `encryption`. An entry that none of them decrypts counts as missing, and is replaced.
        lease: seconds after which the lock expires; must exceed the longest grant.
        timeout: seconds that a command takes at most.
        recheck: seconds between two reads by a process whose token is fresh. Until the next read, a
            token revoked elsewhere may still be sent.

    Raises:
        ValueError: a URL, prefix or key is malformed, or a number of seconds is not above 0.
        TypeError: `client` has another type.
        ImportError: an extra is not installed.
    """

    name = "redis"

    @discreet
    def __init__(
        self,
        client: Redis | RedisCluster | str,
        *,
        prefix: str = "evertoken:",
        encryption_key: EncryptionKey | Sequence[EncryptionKey] | None = None,
        lease: float = 35.0,
        timeout: float = 0.5,
        recheck: float = 10.0,
    ) -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError("prefix must be without braces: they choose the slot in a cluster")
        if not all(0 < seconds < math.inf for seconds in (lease, timeout, recheck)):
            raise ValueError("lease, timeout and recheck must be finite numbers of seconds above 0")
        kind: Callable[..., RedisStore] = type(self)
        self._rebuild = partial(kind, prefix=prefix, lease=lease, timeout=timeout, recheck=recheck)
        self._url: str | None = None
        if isinstance(client, str):
            shows_secret = redis_url.has_password(redis_url.checked(client))
            self._url = None if shows_secret or encryption_key is not None else client
        self.recheck = recheck
        self._prefix = prefix
        self._codec = codec(encryption_key)
        self._server = _server(client, timeout=timeout)
        self.lease = lease
        self._locks = Locks(self._server, lease=lease, timeout=timeout)
        self._logged = Once()
        self.ahead: float = 0.0
        self._flaws: LRU[str] = LRU(MAX_FLAWED)
        process.register(self._locks)

    def load(self, key: TokenKey) -> Entry | None:
        """The entry of `key`, on this machine's clock; None also if the server does not answer.

        One script reads the entry and the server's clock together.
        """
        self._locks.settle()
        stored = self._read(key)
        found = None if stored is None else self._opened(key, stored)
        return stored.reading.to_local(found) if stored and isinstance(found, Entry) else None

    def save(self, key: TokenKey, entry: Entry) -> Entry | None:
        """Join `entry` to the stored one, atomically among machines, on the server's clock.

        Returns:
            The stored entry, on this machine's clock. None if the server does not answer or
            refuses, if other processes kept saving in between, if the stored schema is newer, or
            if no encryption key opens an entry that may hold a newer login.
        """
        for _ in range(TRIES):
            stored = self._read(key)
            found = None if stored is None else self._opened(key, stored)
            # one that another key opens may hold a newer login
            if stored is None or found is Flaw.NEWER or (found is Flaw.SEALED and entry.login):
                return None
            held = found if isinstance(found, Entry) else NOTHING
            joined = join_at(held, stored.reading.to_server(entry), stored.reading.server)
            replaced = self._replace(key, stored, joined) if adds(joined, held) else 1
            if replaced != 0:
                return stored.reading.to_local(joined) if replaced == 1 else None
        return None

    def trouble(self, key: TokenKey) -> str | None:
        """Why the store does not work for `key` at present; None if it does."""
        return self._server.trouble or self._flaws.get(self.entry_name(key))

    def lock(self, key: TokenKey, *, timeout: float) -> AbstractContextManager[Hold]:
        """Hold the lock of `key`; `BUSY` if another holds it beyond `timeout` seconds.

        If the server does not answer, or refuses, the result is `ABSENT`: each process then renews
        alone. With a `timeout` of 0 it is `BUSY`: the server may have recovered at the next try.
        """
        return self._locks.held(self._name(key, "lock"), timeout=timeout)

    def still_held(self, key: TokenKey) -> bool:
        """Ask the server whether the lock taken here is still held, and renew its lease."""
        return self._locks.still_held(self._name(key, "lock"))

    def entry_name(self, key: TokenKey) -> str:
        """The Redis key of the entry of `key`."""
        return self._name(key, "token")

    def __repr__(self) -> str:
        return f"<RedisStore {self._prefix!r}>"

    def __reduce__(self) -> tuple[Callable[[str], RedisStore], tuple[str]]:
        if self._url is None:
            raise TypeError(
                "a RedisStore that was given a client, a URL with a password or an encryption key "
                "does not pickle: make one in each process"
            )
        return self._rebuild, (self._url,)

    def _name(self, key: TokenKey, suffix: str) -> str:
        return f"{self._prefix}{{{key.digest()}}}:{suffix}"

    def _read(self, key: TokenKey) -> _Stored | None:
        """The stored bytes; None if the server does not answer."""
        asked = clock.now()
        answer = self._server.ask("load", "EVAL", _LOAD, 1, self.entry_name(key), MAX_BYTES)
        if not isinstance(answer, list):
            return None
        value, seconds, microseconds = answer
        server = int(seconds) + int(microseconds) / 1e6
        reading = Reading(server, asked, clock.now())
        self.ahead = reading.ahead
        return _Stored(value, reading)

    def _opened(self, key: TokenKey, stored: _Stored) -> Entry | Flaw | None:
        """The entry in `stored`, on the server's clock. A flaw is logged once."""
        name = self.entry_name(key)
        self._flaws.pop(name)
        if not stored.value:
            return None
        now = stored.reading.server
        data = self._codec.unseal(stored.value)
        found: Entry | Flaw = Flaw.SEALED
        if data is not None:
            found = decode(data, key, boot=clock.boot_id(), wall=now)
        if isinstance(found, Entry):
            return demoted(found, now)
        flaw = f"the entry {name} is not used: {found.value}"
        if found is not Flaw.GARBAGE:
            # garbage is replaced by the next poll of a process that knows more
            self._flaws.put(name, flaw)
        self._warn_once(flaw)
        return found

    def _replace(self, key: TokenKey, before: _Stored, entry: Entry) -> object:
        """Replace `before` with `entry`: 1 if that was done, 0 if another entry is stored now."""
        name = self.entry_name(key)
        data = encode(entry, key, boot=clock.boot_id())
        if data is None:
            self._warn_once(f"the entry {name} is not written: {UNSTORABLE}")
            return None
        keep = int(1000 * _keep(entry, before.reading.server))
        revoked = int(entry.revoked_through > NOTHING_REVOKED)
        values = before.value, self._codec.seal(data), keep, MAX_BYTES, revoked
        return self._server.ask("save", "EVAL", _REPLACE, 1, name, *values)

    def _warn_once(self, what: str) -> None:
        if self._logged.first(what):
            reports.warning("%s", what)


def _server(client: Redis | RedisCluster | str, *, timeout: float) -> Server:
    try:
        with loading:
            from evertoken.stores.redis_client import Server  # noqa: PLC0415  it imports the extra
    except ImportError as error:
        raise ImportError(
            f"RedisStore needs the package redis: {how_to_install('redis')} ({error})"
        ) from None
    return Server(client, timeout=timeout)


def _keep(entry: Entry, now: float) -> float:
    """Seconds after which the server may drop `entry`."""
    ends = [now + SHORTEST_KEEP]
    if entry.token is not None:
        ends.append(entry.token.expires_at)
    if entry.revoked_through > NOTHING_REVOKED:
        ends.append(now + REVOCATION_KEPT)
    if entry.login is not None:
        ends.append(now + LOGIN_KEPT)
    # twice its pause, so that a process that fails soon after still finds it, and doubles the pause
    ends += [2 * each.until - each.at for each in entry.failures]
    return max(ends) - now
