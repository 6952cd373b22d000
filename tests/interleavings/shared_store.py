"""The store that processes share: a file on each machine, or one Redis server."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evertoken.core.effects import Hold
from evertoken.core.entry import NOTHING, Entry, join_at
from interleavings.scenario import LEASE, START
from interleavings.server import Violation, owner_of

if TYPE_CHECKING:
    from evertoken.core.instant import Instant
    from evertoken.core.token import TokenKey
    from interleavings.actors import Actor, Process

Place = tuple[int, str]
"""The number of a store (for files, of its machine), and the identity of an entry or lock."""


@dataclass(eq=False)
class SharedStore:
    """The entries and locks.

    Attributes:
        redis: whether one store serves all machines.
        entries: the stored entries; in Redis times are seconds since the start.
        locks: the number of the actor that holds each lock, and when its lease ends.
        received: the last conversion of an entry on each machine, with the setting of its clock.
    """

    redis: bool
    entries: dict[Place, Entry] = field(default_factory=dict)
    locks: dict[Place, tuple[int, float]] = field(default_factory=dict)
    received: dict[int, tuple[Entry, float, Entry]] = field(default_factory=dict)

    def place(self, process: Process, key: TokenKey) -> Place:
        """The slot where `process` finds the entry of `key`."""
        return 0 if self.redis else process.machine, key.username or ""

    # -- locks -------------------------------------------------------------------------------------

    def holder(self, process: Process, key: TokenKey) -> tuple[int, float] | None:
        """The actor that holds the lock of `key`, and when its lease ends."""
        return self.locks.get(self.place(process, key)) if self.locks else None

    def lock(self, actor: Actor, time: float) -> Hold:
        """Take the lock for `actor`, if it is free."""
        place = self.place(actor.process, actor.key)
        holder = self.locks.get(place)
        if holder is not None and holder[1] > time:
            return Hold.BUSY
        self.locks[place] = actor.number, time + LEASE if self.redis else math.inf
        return Hold.HELD

    def unlock(self, actor: Actor) -> None:
        """Release the locks of `actor`."""
        for place in [each for each, holder in self.locks.items() if holder[0] == actor.number]:
            del self.locks[place]

    # -- entries -----------------------------------------------------------------------------------

    def load(self, process: Process, key: TokenKey, offset: float) -> Entry:
        """The entry of `key` on the clocks of `process`, whose wall clock is `offset` ahead."""
        entry = self.entries.get(self.place(process, key), NOTHING)
        if not self.redis or entry is NOTHING:
            return entry
        machine = process.machine
        seen = self.received.get(machine)
        if seen is None or seen[0] is not entry or seen[1] != offset:
            seen = entry, offset, received(entry, START + offset, 1000 + 500.0 * machine)
            self.received[machine] = seen
        return seen[2]

    def save(
        self, process: Process, key: TokenKey, entry: Entry, now: Instant, time: float
    ) -> None:
        """Join `entry` to the shared entry of `key`."""
        place = self.place(process, key)
        held = self.entries.get(place, NOTHING)
        if self.redis:
            joined = join_at(held, sent(entry, now, time), START + time)
        else:
            joined = join_at(held, entry, now.wall)
        check_owner(joined, key)
        check_order(held, joined)
        self.entries[place] = joined

    def put(self, process: Process, key: TokenKey, entry: Entry, now: Instant, time: float) -> None:
        """Replace the shared entry of `key`."""
        check_owner(entry, key)
        shared = sent(entry, now, time) if self.redis else entry
        self.entries[self.place(process, key)] = shared


def sent(entry: Entry, now: Instant, time: float) -> Entry:
    """`entry` on Redis's clock, by ages on the clock since boot."""

    def moment(wall: float, boot: float | None) -> float:
        return time - (now.wall - wall if boot is None else now.boot - boot)

    token = entry.token
    if token is not None:
        at = moment(token.issued_at, token.issued_boot)
        until = at + token.lifetime
        token = replace(token, issued_at=at, expires_at=until, issued_boot=None)
    failures = []
    for each in entry.failures:
        at = moment(each.at, each.at_boot)
        failures.append(replace(each, at=at, until=at + each.until - each.at, at_boot=None))
    return Entry(token, entry.login, entry.revoked_through, tuple(failures), entry.salt)


def received(entry: Entry, wall: float, boot: float) -> Entry:
    """`entry` from Redis on clocks that had these readings at the start."""
    token = entry.token
    if token is not None:
        at = token.issued_at
        until = token.expires_at + wall
        token = replace(token, issued_at=at + wall, expires_at=until, issued_boot=at + boot)
    failures = tuple(
        replace(each, at=each.at + wall, until=each.until + wall, at_boot=each.at + boot)
        for each in entry.failures
    )
    return Entry(token, entry.login, entry.revoked_through, failures, entry.salt)


def check_owner(entry: Entry, key: TokenKey) -> None:
    """Check that no entry of one identity is stored under another."""
    whose = [owner_of(str(failure.error)) for failure in entry.failures]
    if entry.token is not None:
        whose.append(owner_of(entry.token.value))
    if any(each != key.username for each in whose):
        raise Violation(f"what is of {' and '.join(whose)} was saved as {key.username}'s")


def check_order(held: Entry, joined: Entry) -> None:
    """Check that a save loses no revocation and no newer token."""
    if joined.revoked_through < held.revoked_through:
        raise Violation("a revocation was lost")
    before = -1 if held.token is None else held.token.generation
    after = joined.revoked_through if joined.token is None else joined.token.generation
    if after < before:
        raise Violation("a newer token was lost to an older one")
