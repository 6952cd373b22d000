"""Locks in Redis: a key with a lease and a random value, released only by its owner."""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evertoken.core.hold import Hold
from evertoken.lru import LRU, Once
from evertoken.runtime import clock, reports
from evertoken.stores.circuit_breaker import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.stores.redis_client import Server

FIRST_POLL = 0.05
"""Seconds between a waiter's first two tries; the interval grows by half each time."""

LONGEST_POLL = 1.0
"""Seconds up to which the interval grows: 10,000 waiters try at most 10,000 times a second."""

SAME_WAIT = 2.0
"""Seconds, beside two answers of the server, after which a try begins a new wait.

Within a wait at most one pause, one load and one try lie between two tries.
"""

MAX_WAITED_FOR = 1024
"""The number of locks whose interval is remembered; any other starts at `FIRST_POLL`."""

MAX_UNSETTLED = 256
"""The number of locks that are released once the server recovers; the lease ends any others."""

_LOCK = """
local set = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if set then return set end
return redis.call('PTTL', KEYS[1])
"""

_PROLONG = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""

_UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

_ENDLESS = -1  # PTTL of a key that does not expire


@dataclass(slots=True, eq=False)
class _Claim:
    """An attempt to take a lock; `maybe_held` while the server may have granted it."""

    name: str
    value: str
    maybe_held: bool = False


class Locks:
    """Locks that expire after `lease` seconds, whatever happens to their holder.

    A command that timed out may still run once the server recovers, and take the lock without its
    client knowing. Each lock that may be held that way is therefore released, if its value still
    matches, once the server answers again; the lease ends it at the latest. If there are more than
    `MAX_UNSETTLED`, the oldest is left to its lease.
    """

    def __init__(self, server: Server, *, lease: float, timeout: float) -> None:
        self._server = server
        self._lease = max(1, int(lease * 1000))
        self._same_wait = SAME_WAIT + 2 * timeout
        self._unsettled: LRU[_Claim] = LRU(MAX_UNSETTLED)
        self._held: dict[str, _Claim] = {}
        self._polls: LRU[tuple[float, float]] = LRU(MAX_WAITED_FOR)
        self._logged = Once()

    def renew_in_child(self) -> None:
        """Forget the parent's locks, which only the parent may release."""
        self._unsettled = LRU(MAX_UNSETTLED)
        self._held = {}

    @contextlib.contextmanager
    def held(self, name: str, *, timeout: float) -> Iterator[Hold]:
        """Hold the lock in the key `name`; `BUSY` if another holds it beyond `timeout` seconds.

        If the server does not answer, the result is `ABSENT`: each process then renews alone. With
        a `timeout` of 0 it is `BUSY`: the server may have recovered at the next try.
        """
        self.settle()
        claim = _Claim(name, secrets.token_hex(16))
        try:
            hold = self._acquire(claim, timeout)
            if hold is Hold.HELD:
                self._held[name] = claim
            yield hold
        finally:
            if self._held.get(name) is claim:
                del self._held[name]
            if claim.maybe_held:
                self._release(claim)

    def still_held(self, name: str) -> bool:
        """Whether the lock in the key `name`, taken here, is still held; renews its lease.

        A request that is sent now therefore has the whole lease.
        """
        claim = self._held.get(name)
        if claim is None:
            return False
        return self._server.ask("lock", "EVAL", _PROLONG, 1, name, claim.value, self._lease) == 1

    def settle(self) -> None:
        """Release locks that a command without an answer may have taken."""
        for claim in self._unsettled.values():
            if not self._release(claim):
                return

    def _acquire(self, claim: _Claim, timeout: float) -> Hold:
        end = clock.since_boot() + timeout
        while (answer := self._try(claim)) is False:
            left = end - clock.since_boot()
            if left <= 0:
                return Hold.BUSY
            pause = self._next_poll(claim.name)
            # Event.wait, since time.sleep fails with EINVAL under libfaketime
            threading.Event().wait(min(pause, left))
            if pause >= left:
                return Hold.BUSY
        if answer is True:
            self._polls.pop(claim.name)
            return Hold.HELD
        return Hold.ABSENT if timeout > 0 else Hold.BUSY

    def _try(self, claim: _Claim) -> bool | NoAnswer:
        claim.maybe_held = True
        answer = self._server.ask("lock", "EVAL", _LOCK, 1, claim.name, claim.value, self._lease)
        if isinstance(answer, NoAnswer):
            claim.maybe_held = answer is NoAnswer.UNANSWERED
            return answer
        if not isinstance(answer, int):
            return True
        claim.maybe_held = False
        if answer != _ENDLESS:
            return False
        if self._logged.first(claim.name):
            reports.warning(
                "the key %s does not expire, so it is not a lock: renewing without one", claim.name
            )
        return NoAnswer.REFUSED

    def _next_poll(self, name: str) -> float:
        """The pause until a waiter's next try; it keeps growing across the calls of one wait."""
        now = clock.since_boot()
        pause, at = self._polls.get(name) or (FIRST_POLL, now)
        if now - at > self._same_wait:
            # Otherwise a process that only ever waits for others would wait longer each time.
            pause = FIRST_POLL
        self._polls.put(name, (min(pause * 1.5, LONGEST_POLL), now))
        # jitter, only upwards: processes that began together must not try together
        return pause * (1 + random.random() / 2)  # noqa: S311  it spreads load

    def _release(self, claim: _Claim) -> bool:
        """Release it now, or once the server answers again. Returns whether it answered."""
        self._unsettled.put(claim.value, claim)
        answer = self._server.ask("unlock", "EVAL", _UNLOCK, 1, claim.name, claim.value)
        # a server that refuses (a replica, a full disk) may accept it soon; the lease ends it else
        if isinstance(answer, NoAnswer):
            return False
        self._unsettled.pop(claim.value)
        return True
