"""Redis or Valkey as a store: shared by the processes of many machines, and never needed."""

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
"""How often a save begins anew because another one came in between."""

MAX_FLAWED = 1024
"""Entries that cannot be used, of which the reason is remembered."""

SHORTEST_KEEP = 1.0
"""Seconds for which even an expired token is kept, for those who waited for it."""

REVOCATION_KEPT = 24 * 3600.0
"""Seconds for which a revocation is kept at least: a renewal under way, or a sibling that was out
of reach, may still bring the dead token."""

LOGIN_KEPT = LONGEST_LIFETIME
"""Seconds for which a login is kept that nobody renews."""

_LOAD = """
local time = redis.call('TIME')
return {redis.call('GETRANGE', KEYS[1], 0, ARGV[1]), time[1], time[2]}
"""

# The whole value is compared: nothing shorter tells two entries apart after a key has expired. A
# revocation is kept for as long as what stood there: siblings may hold the dead token so long.
_REPLACE = """
if redis.call('GETRANGE', KEYS[1], 0, ARGV[4]) ~= ARGV[1] then return 0 end
local keep = tonumber(ARGV[3])
if ARGV[5] == '1' then keep = math.max(keep, redis.call('PTTL', KEYS[1])) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', string.format('%.0f', keep))
return 1
"""


class _Stored(NamedTuple):
    """What the server holds, empty for nothing, and its time when it said so."""

    value: bytes
    reading: Reading


class RedisStore:
    """Shares tokens through Redis or Valkey: one grant per lifetime for a fleet of machines.

    Two keys per identity, in one slot of a cluster and without a user's name:
    `<prefix>{<id>}:token`, which expires when nobody needs it any more, and
    `<prefix>{<id>}:lock`, held during a renewal. Every question to the server ends within
    `timeout`, or twice that until it has answered once, whatever it does (a save asks two), and
    nothing is raised: requests go on from memory, one warning says so, and one notice when it is
    over. A server that gives no answer is left alone for a second, then for up to 30.

    A process that dies with the lock keeps others from a renewal for `lease` seconds at most; those
    that have no token wait for half of their manager's `timeout`, and go on without the lock then.
    A holder that outlives its lease costs one more grant; an older token never replaces a newer
    one. The clocks of the machines need not agree: times are kept on the server's clock.

    Args:
        client: a `redis.Redis`, a `redis.RedisCluster`, what `Sentinel.master_for` returns, or a
            URL (`redis://`, `rediss://`, `unix://`). The store makes a client of its own like it,
            with short timeouts and without retries.
        prefix: begins each key; without braces.
        encryption_key: a Fernet key, or several of which the first seals and all open; needs the
            extra `encryption`. What none of them opens is a miss, and is replaced.
        lease: seconds; longer than a grant may last.
        timeout: seconds that an operation lasts at most.
        recheck: seconds between two reads of a process whose token is fresh: for so long a token
            that was revoked elsewhere may still be sent.

    Raises:
        ValueError: a malformed URL, prefix or key, or a number of seconds that is not above 0.
        TypeError: `client` is none of these.
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
        self._locks = Locks(self._server, lease=lease)
        self._said = Once()
        self.ahead = 0.0
        self._flaws: LRU[str] = LRU(MAX_FLAWED)
        process.register(self._locks)

    def load(self, key: TokenKey) -> Entry | None:
        """The entry of `key`, on this machine's clock; None also while the server gives no answer.

        The server is asked once: its clock is read together with the entry.
        """
        self._locks.settle()
        stored = self._read(key)
        found = None if stored is None else self._opened(key, stored)
        return stored.reading.arrived(found) if stored and isinstance(found, Entry) else None

    def save(self, key: TokenKey, entry: Entry) -> Entry | None:
        """Join `entry` to what is held, as one step among machines, on the server's clock.

        Returns:
            What is held afterwards, on this machine's clock; None if the server gives no answer or
            refuses, if others always came in between, or if it holds a newer schema.
        """
        for _ in range(TRIES):
            stored = self._read(key)
            found = None if stored is None else self._opened(key, stored)
            if stored is None or found is Flaw.NEWER:
                return None
            held = found if isinstance(found, Entry) else NOTHING
            joined = join_at(held, stored.reading.sent(entry), stored.reading.server)
            replaced = self._replace(key, stored, joined) if adds(joined, held) else 1
            if replaced != 0:
                return stored.reading.arrived(joined) if replaced == 1 else None
        return None

    def trouble(self, key: TokenKey) -> str | None:
        """Why it does not serve `key` for now; None: it does."""
        return self._server.trouble or self._flaws.get(self.entry_name(key))

    def lock(self, key: TokenKey, *, timeout: float) -> AbstractContextManager[Hold]:
        """Hold the lock of `key`; `BUSY` if another holds it beyond `timeout` seconds.

        If the server gives no answer, or refuses, a caller that waits gets `ABSENT`, since each
        process then renews alone. With a `timeout` of 0 it gets `BUSY`, since the server may be
        back at the next try.
        """
        return self._locks.held(self._name(key, "lock"), timeout=timeout)

    def still_held(self, key: TokenKey) -> bool:
        """Whether the lease of the lock that was taken here has not ended; asks the server."""
        return self._locks.still_held(self._name(key, "lock"))

    def entry_name(self, key: TokenKey) -> str:
        """The Redis key in which the entry of `key` is."""
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
        """What is stored; None without an answer."""
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
        """What `stored` says, on the server's clock; a flaw is said once."""
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
        self._flaws.put(name, flaw)
        self._say(flaw)
        return found

    def _replace(self, key: TokenKey, before: _Stored, entry: Entry) -> object:
        """Put `entry` in place of `before`: 1 if that was done, 0 if another stands there now."""
        name = self.entry_name(key)
        data = encode(entry, key, boot=clock.boot_id())
        if data is None:
            self._say(f"the entry {name} is not written: {UNSTORABLE}")
            return None
        keep = int(1000 * _keep(entry, before.reading.server))
        revoked = int(entry.revoked_through > NOTHING_REVOKED)
        values = before.value, self._codec.seal(data), keep, MAX_BYTES, revoked
        return self._server.ask("save", "EVAL", _REPLACE, 1, name, *values)

    def _say(self, what: str) -> None:
        if self._said.first(what):
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
    """Seconds for which the server keeps `entry`."""
    ends = [now + SHORTEST_KEEP]
    if entry.token is not None:
        ends.append(entry.token.expires_at)
    if entry.revoked_through > NOTHING_REVOKED:
        ends.append(now + REVOCATION_KEPT)
    if entry.login is not None:
        ends.append(now + LOGIN_KEPT)
    # twice its pause: a failure soon after doubles it, whichever process meets that one
    ends += [2 * each.until - each.at for each in entry.failures]
    return max(ends) - now
