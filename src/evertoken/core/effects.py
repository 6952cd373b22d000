"""What a renewal asks of the world, and what it is told: one frozen value for each.

The driver performs an effect and sends its result back. The type of the result stands beside each
effect. Stores are named by number, from 0 (nearest) up.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from evertoken.core.entry import NOTHING, Entry
from evertoken.core.hold import Hold as Hold  # noqa: PLC0414  stores outside import it from here

if TYPE_CHECKING:
    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token, TokenKey
    from evertoken.errors import TokenError


class Source(enum.Enum):
    """Where the result of a renewal came from."""

    GRANT = "the token endpoint"
    STORE = "a store"
    REMEMBERED = "a failure that the manager remembered"
    BUSY = "another process is renewing"
    INTERRUPTED = "the caller that ran it was interrupted"
    REVOKED = "the token was revoked while it was on its way"
    FAILED_LATE = "the renewal failed after its deadline: its error says nothing about the endpoint"


@dataclass(frozen=True, slots=True)
class Reading:
    """The credentials, read once: the identity, the request and the memory of a refusal.

    Attributes:
        key: the identity.
        fingerprint: tells changed credentials from these, inside this process; keyed and fast.
        credentials: what is posted; opaque to the core.
        initial: the initial refresh token of an exclusive grant.
    """

    key: TokenKey
    fingerprint: bytes = field(repr=False)
    credentials: object = field(default=None, repr=False)
    initial: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ReadCredentials:
    """Read the credentials. Result: `Reading | TokenError`."""


@dataclass(frozen=True, slots=True)
class Now:
    """The caller's reading, plus what has passed on the clock since boot. Result: `Instant`.

    A renewal runs in a thread, where freezegun shows the real wall clock.
    """


@dataclass(frozen=True, slots=True)
class OrderingTime:
    """Unix seconds on the clock by which generations are counted. Result: `float`.

    Redis's own where a store is Redis, as far as it was seen there last; else the wall clock, as
    `Now` reads it. It needs no I/O.
    """


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. Result: None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Lock:
    """Take the identity's lock; it is kept until the generator ends. Result: `Hold`.

    A `timeout` of 0 seconds means that the renewal can be put off: a store that is away for the
    moment answers `BUSY`.
    """

    store: int
    timeout: float


@dataclass(frozen=True, slots=True)
class StillHeld:
    """Whether the lock that was taken is still ours. Result: `bool`."""

    store: int


@dataclass(frozen=True, slots=True)
class LockTimedOut:
    """Log that the renewal goes on without this lock. Result: None."""

    store: int


@dataclass(frozen=True, slots=True)
class Load:
    """Read the entry. Result: `Entry | None`; None for what is absent or not to be trusted."""

    store: int


@dataclass(frozen=True, slots=True)
class Save:
    """Join `entry` to what the store holds, as one step. Result: the join, or None if not saved.

    The store merges by `join_at`, at its `OrderingTime`.
    """

    store: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Request:
    """Post the credentials that were read. Result: `Token | TokenError`.

    Of the token only value, lifetime, scope and refresh token count; the core dates it. An error
    has `local` set if nothing was sent.
    """

    reading: Reading
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Revoke:
    """Have the server revoke a token and its refresh token. Result: `TokenError | None`."""

    reading: Reading
    token: Token


@dataclass(frozen=True, slots=True)
class Hash:
    """The hash of the credentials under `salt`. Result: `bytes`; empty if there is none.

    Slow (scrypt) where a store is shared between processes, fast and keyed where none is. The
    grant remembers the last one: a repetition is cheap.
    """

    reading: Reading
    salt: bytes


@dataclass(frozen=True, slots=True)
class NewSalt:
    """16 random bytes. Result: `bytes`."""


@dataclass(frozen=True, slots=True)
class MayAdopt:
    """Whether this token belongs to the credentials that were read. Result: `bool`.

    Inside a process it belongs to those that obtained it. If nobody here owns it yet, asking makes
    the asker its owner, unless the manager must prove its credentials first.
    """

    reading: Reading
    token: Token


@dataclass(frozen=True, slots=True)
class Publish:
    """Release the waiting callers with this result now; the renewal goes on. Result: None."""

    result: Result


Effect = (
    ReadCredentials
    | Now
    | OrderingTime
    | Sleep
    | Lock
    | StillHeld
    | LockTimedOut
    | Load
    | Save
    | Request
    | Revoke
    | Hash
    | NewSalt
    | MayAdopt
    | Publish
)

R = TypeVar("R")

Steps = Generator[Effect, Any, R]
"""A generator that yields effects, receives their results, and returns an `R`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a manager renews.

    Attributes:
        stores: how many there are; 0 is the nearest, and locks are taken in this order.
        policy: the rules.
        lock_timeout: seconds to wait for a lock before going on without it.
        deadline: seconds after the send. A result that comes later is late: an expired token
            or an outage is then ignored.
        jitter_fraction: in [0, 1), this process's own.
        exclusive: whether the grant has a rotating refresh token. The farthest store keeps it.
    """

    stores: int
    policy: RefreshPolicy
    lock_timeout: float
    deadline: float
    jitter_fraction: float
    exclusive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRequest:
    """What one renewal is asked to do.

    Attributes:
        snapshot: what the caller held.
        start: the caller's reading of both clocks.
        force: ask even where a back-off, a refusal or the floor between grants forbids it.
    """

    snapshot: Snapshot
    start: Instant
    force: bool = False

    @property
    def rejected(self) -> Token | None:
        """The token that an API refused: not adopted again."""
        return self.snapshot.token if self.snapshot.rejected else None

    @property
    def blocking(self) -> bool:
        """Whether a caller waits for the result: forced, after a 401, or nothing usable to send."""
        return self.force or not self.snapshot.usable(self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a renewal. With neither token nor failure, a waiting caller asks again.

    Attributes:
        source: where it came from.
        entry: all that the renewal learnt, the tokens of other credentials included.
        token: what the waiting callers receive.
        failure: what is waited out from now on.
        store: the number of the store that it was adopted from.
        key, fingerprint: of the credentials that were read; None and empty if they could not be.
        seconds: how long it took.
        deadline: on the clock since boot; after it, an expired token is dropped.
    """

    source: Source
    entry: Entry = NOTHING
    token: Token | None = None
    failure: Failure | None = None
    store: int | None = None
    key: TokenKey | None = None
    fingerprint: bytes = field(default=b"", repr=False)
    seconds: float = 0.0
    deadline: float = math.inf

    @property
    def asked(self) -> bool:
        """Whether it got past memory and stores; true for a crash or a local failure too."""
        return self.source is Source.GRANT

    @property
    def blocked(self) -> bool:
        """Whether another process held the lock."""
        return self.source is Source.BUSY

    def late(self, now: Instant) -> bool:
        """Whether this came after its deadline, token or failure: the process was frozen."""
        return now.boot > self.deadline

    @property
    def error(self) -> TokenError | None:
        """What a waiting caller is told if there is no token."""
        return None if self.token or self.failure is None else self.failure.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What came of a revocation.

    Attributes:
        tokens: those that were revoked, by the server's word or only here.
        entry: to be merged into the snapshot, and saved again by the next poll if a store was away.
        error: the first one, if the server did not confirm all.
    """

    tokens: tuple[Token, ...]
    entry: Entry
    error: TokenError | None = None
