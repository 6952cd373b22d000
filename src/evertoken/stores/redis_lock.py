"""Locks in Redis: a lease with a random value, released by its owner alone."""

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
from evertoken.stores.link import Lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.stores.redis_client import Server

FIRST_POLL = 0.05
"""Seconds between a waiter's first two tries; they grow by half each time."""

LONGEST_POLL = 1.0
"""Seconds up to which they grow: ten thousand waiters are ten thousand tries a second at most."""

MAX_WAITED_FOR = 1024
"""Locks for which the interval between tries is remembered; any other starts at `FIRST_POLL`."""

MAX_DOUBTS = 256
"""Locks that are released once the server is back; the lease ends any others."""

_LOCK = """
local set = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if set then return set end
return redis.call('PTTL', KEYS[1])
"""

_UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

_ENDLESS = -1  # what PTTL says of a key that does not expire


@dataclass(slots=True, eq=False)
class _Claim:
    """One try to hold a lock; `perhaps` while the server may hold it for us."""

    name: str
    value: str
    perhaps: bool = False


class Locks:
    """Locks that end by themselves after `lease` seconds, whatever became of their holder.

    A command that got no answer may still be carried out when the server wakes, and then nobody
    knows that he holds the lock. So whatever may be held is released once the server answers
    again, by a comparison with its value; the lease ends it at the latest. Beyond `MAX_DOUBTS` of
    them the oldest is left to its lease.
    """

    def __init__(self, server: Server, *, lease: float) -> None:
        self._server = server
        self._lease = lease
        self._doubts: LRU[_Claim] = LRU(MAX_DOUBTS)
        self._held: dict[str, _Claim] = {}
        self._polls: LRU[float] = LRU(MAX_WAITED_FOR)
        self._said = Once()

    def renew_in_child(self) -> None:
        """Leave to the parent what it may hold."""
        self._doubts = LRU(MAX_DOUBTS)
        self._held = {}

    @contextlib.contextmanager
    def held(self, name: str, *, timeout: float) -> Iterator[Hold]:
        """Hold the lock in the key `name`; `BUSY` if another holds it beyond `timeout` seconds.

        If the server offers none, a caller that waits gets `ABSENT`: each process then renews
        alone. One that only tries (a `timeout` of 0) gets `BUSY`: the server may be back at its
        next try.
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
            if claim.perhaps:
                self._release(claim)

    def still_held(self, name: str) -> bool:
        """Whether the lock in the key `name` that was taken here has not been lost."""
        claim = self._held.get(name)
        if claim is None:
            return False
        return self._server.ask("lock", "GET", name) == claim.value.encode()

    def settle(self) -> None:
        """Release what may have come to be held by a command that got no answer."""
        for claim in self._doubts.values():
            if not self._release(claim):
                return

    def _acquire(self, claim: _Claim, timeout: float) -> Hold:
        end = clock.since_boot() + timeout
        while (answer := self._try(claim)) is False:
            pause = self._next_poll(claim.name)
            left = end - clock.since_boot()
            # Event.wait, since under libfaketime time.sleep() fails with EINVAL
            threading.Event().wait(max(0.0, min(pause, left)))
            if pause >= left:
                return Hold.BUSY
        if answer is True:
            self._polls.pop(claim.name)
            return Hold.HELD
        return Hold.ABSENT if timeout > 0 else Hold.BUSY

    def _try(self, claim: _Claim) -> bool | Lost:
        claim.perhaps = True
        lease = max(1, int(self._lease * 1000))
        answer = self._server.ask("lock", "EVAL", _LOCK, 1, claim.name, claim.value, lease)
        if isinstance(answer, Lost):
            claim.perhaps = answer is Lost.UNANSWERED
            return answer
        if not isinstance(answer, int):
            return True
        claim.perhaps = False
        if answer != _ENDLESS:
            return False
        if self._said.first(claim.name):
            reports.warning(
                "the key %s is no lock, it has no end: renewing without one", claim.name
            )
        return Lost.REFUSED

    def _next_poll(self, name: str) -> float:
        """The pause of a waiter, which goes on growing where one call waited in vain."""
        pause = self._polls.get(name) or FIRST_POLL
        self._polls.put(name, min(pause * 1.5, LONGEST_POLL))
        # longer, never shorter: processes that began together must not ask together
        return pause * (1 + random.random() / 2)  # noqa: S311  it spreads load

    def _release(self, claim: _Claim) -> bool:
        """Release it now, or leave it to the next contact; whether the server answered."""
        self._doubts.put(claim.value, claim)
        answer = self._server.ask("unlock", "EVAL", _UNLOCK, 1, claim.name, claim.value)
        if answer in {Lost.UNASKED, Lost.UNANSWERED}:
            return False
        self._doubts.pop(claim.value)
        return True
