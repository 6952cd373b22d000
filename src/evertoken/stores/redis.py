"""Redis or Valkey as a store: shared by the processes of many machines, and never needed."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from evertoken import clock, process
from evertoken.lazy import loading
from evertoken.stores.encryption import codec
from evertoken.stores.record import MAX_BYTES, Flaw, Record, decode, encode
from evertoken.stores.redis_lock import Locks
from evertoken.token import Refusal, Token, forgotten, supersedes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from redis import Redis, RedisCluster

    from evertoken.stores.encryption import EncryptionKey
    from evertoken.stores.redis_client import Server
    from evertoken.token import Entry, TokenKey

_log = logging.getLogger("evertoken")

TRIES = 5
"""How often a save begins anew because another one came in between."""

SHORTEST_KEEP = 1.0
"""Seconds for which even a token that is used up is kept, for who waited for it."""

# Compared is the whole value: a generation begins anew when a key expires, and then two different
# entries have the same one. A mark is kept for as long as what stood there: it is of a token that
# siblings may hold for longer than the refusal lasts that bears it.
_REPLACE = """
local held = redis.call('GETRANGE', KEYS[1], 0, ARGV[4])
if held ~= ARGV[1] then return held end
local keep = tonumber(ARGV[3])
if ARGV[5] == '1' then keep = math.max(keep, redis.call('PTTL', KEYS[1])) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', keep)
return 1
"""


class RedisStore:
    """Shares tokens through Redis or Valkey: one grant per lifetime for a fleet of machines.

    Two keys per identity, in one slot of a cluster and without a user's name:
    `<prefix>{<id>}:token`, which expires with its token, and `<prefix>{<id>}:lock`, held during a
    renewal. Every operation ends within `timeout`, or twice that until the server has answered
    once, whatever it does, and nothing is raised: requests go on from memory, one warning says so,
    and one notice when it is over. A server that gives no answer is left alone for a second, then
    for up to 30.

    Who dies with the lock keeps others from a renewal for `lease` seconds at most; those that
    have no token wait for half of their manager's `timeout`, and go on without the lock then. A
    holder that outlives its lease costs one more grant; an older token never replaces a newer
    one. The clocks of the machines must agree within a minute.

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
        self._rebuild = partial(
            type(self), prefix=prefix, lease=lease, timeout=timeout, recheck=recheck
        )
        open_url = isinstance(client, str) and encryption_key is None and not _has_secret(client)
        self._url = client if isinstance(client, str) and open_url else None
        self.recheck = recheck
        self._prefix = prefix
        self._codec = codec(encryption_key)
        self._server = _server(client, timeout=timeout)
        self._locks = Locks(self._server, lease=lease)
        self._seen: dict[TokenKey, bytes] = {}
        self._said: set[str] = set()
        self._flaws: dict[TokenKey, str] = {}
        process.register(self._locks)

    def load(self, key: TokenKey) -> Entry | None:
        """The entry of `key`; None also while the server gives no answer."""
        self._locks.settle()
        stored = self._read(key)
        record = None if stored is None else self._opened(key, stored)
        return record.entry if isinstance(record, Record) else None

    def save(self, key: TokenKey, entry: Entry) -> None:
        """Replace the entry of `key`, unless there is a later token or a newer schema."""
        now = clock.now()
        self._update(key, lambda held: entry if supersedes(entry, held, now) else None)

    def forget(self, key: TokenKey, token: Token) -> None:
        """Leave a mark in place of `token`, so that processes that hold it drop it."""
        now = clock.now()
        self._update(key, lambda held: forgotten(held, token, now))

    def trouble(self, key: TokenKey) -> str | None:
        """Why it does not serve `key` for now; None: it does."""
        return self._server.trouble or self._flaws.get(key)

    def lock(self, key: TokenKey, *, timeout: float) -> AbstractContextManager[bool]:
        """Hold the lock of `key`; False where another holds it beyond `timeout` seconds.

        Where the server gives no answer, or refuses, True for who waits, since each process then
        renews alone; False where `timeout` is 0, since the server may be back at the next try.
        """
        return self._locks.held(self._name(key, "lock"), timeout=timeout)

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

    def _read(self, key: TokenKey) -> bytes | None:
        """What is stored, empty where nothing is; None without an answer."""
        name = self.entry_name(key)
        return self._noted(key, self._server.ask("load", "GETRANGE", name, 0, MAX_BYTES))

    def _noted(self, key: TokenKey, answer: object) -> bytes | None:
        if not isinstance(answer, bytes):
            return None
        self._seen[key] = answer
        return answer

    def _opened(self, key: TokenKey, stored: bytes) -> Record | Flaw | None:
        """What `stored` says; a flaw is said once."""
        self._flaws.pop(key, None)
        if not stored:
            return None
        data = self._codec.unseal(stored)
        record = Flaw.SEALED if data is None else decode(data, key, boot=clock.boot_id())
        if isinstance(record, Flaw):
            flaw = f"the entry {self.entry_name(key)} is not used: {record.value}"
            self._flaws[key] = flaw
            self._say(flaw)
        return record

    def _update(self, key: TokenKey, change: Callable[[Entry | None], Entry | None]) -> None:
        """Compare and replace as one step, beginning with what was read last."""
        stored = self._seen.get(key, b"")
        current = False
        for _ in range(TRIES):
            held = self._opened(key, stored)
            entry = change(held.entry if isinstance(held, Record) else None)
            if entry is not None and held is not Flaw.NEWER:
                generation = held.generation + 1 if isinstance(held, Record) else 1
                found = self._replace(key, stored, Record(entry, generation))
            else:
                found = None if current else self._read(key)
            if found is None:
                return
            stored, current = found, True

    def _replace(self, key: TokenKey, before: bytes, record: Record) -> bytes | None:
        """Put `record` in place of `before`; what was there instead, or None."""
        after = self._codec.seal(encode(record, key, boot=clock.boot_id()))
        keep = int(1000 * _keep(record.entry, clock.now().wall))
        marked = isinstance(record.entry, Refusal) and record.entry.forgets is not None
        values = before, after, keep, MAX_BYTES, int(marked)
        answer = self._server.ask("save", "EVAL", _REPLACE, 1, self.entry_name(key), *values)
        if isinstance(answer, int):
            self._seen[key] = after
        return self._noted(key, answer)

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            _log.warning("%s", what)


def _server(client: Redis | RedisCluster | str, *, timeout: float) -> Server:
    try:
        with loading:
            from evertoken.stores.redis_client import Server  # noqa: PLC0415  it imports the extra
    except ImportError as error:
        raise ImportError(
            f"RedisStore needs the package redis: pip install 'evertoken[redis]' ({error})"
        ) from None
    return Server(client, timeout=timeout)


def _keep(entry: Entry, now: float) -> float:
    """Seconds for which the server keeps `entry`."""
    ends = [entry.expires_at] if isinstance(entry, Token) else []
    if isinstance(entry, Refusal):
        # twice its pause, since a failure soon after doubles it, whoever meets that one
        ends = [2 * entry.until - entry.refused_at]
        ends += [] if entry.token is None else [entry.token.expires_at]
    return max(SHORTEST_KEEP, max(ends) - now)


def _has_secret(url: str) -> bool:
    parts = urlsplit(url)
    return parts.password is not None or "password" in parts.query
