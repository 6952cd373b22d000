"""The effects that a renewal yields, and the values that it is given; each is frozen.

The driver performs an effect and sends its result back; each effect documents the type of its
result. Stores are numbered from 0 (nearest).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from evertoken.core.hold import Hold as Hold  # noqa: PLC0414  stores outside import it from here

if TYPE_CHECKING:
    from evertoken.core.entry import Entry
    from evertoken.core.instant import Instant
    from evertoken.core.outcome import Result
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token, TokenKey
    from evertoken.errors import TokenError


@dataclass(frozen=True, slots=True)
class Reading:
    """The credentials, read once. The identity, the request and a refusal all come from it.

    Attributes:
        key: the identity.
        fingerprint: a fast keyed hash that detects changed credentials inside this process.
        credentials: the form to post; opaque to the core.
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
    """The caller's reading plus the time since boot that has passed. Result: `Instant`.

    A renewal runs in a thread, where freezegun shows the real wall clock.
    """


@dataclass(frozen=True, slots=True)
class OrderingTime:
    """Unix seconds on the clock that generations follow. Result: `float`.

    If a store is Redis, its clock, extrapolated from its last answer; else the wall clock, as in
    `Now`. Needs no I/O.
    """


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. Result: None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Lock:
    """Take the identity's lock and keep it until the generator ends. Result: `Hold`.

    A `timeout` of 0 seconds means that the renewal can be put off: an unreachable store then
    answers `BUSY`.
    """

    store: int
    timeout: float


@dataclass(frozen=True, slots=True)
class StillHeld:
    """Check that the lock is still held. Result: `bool`."""

    store: int


@dataclass(frozen=True, slots=True)
class LockTimedOut:
    """Log that the renewal goes on without this lock. Result: None."""

    store: int


@dataclass(frozen=True, slots=True)
class Load:
    """Read the entry. Result: `Entry | None`; None if it is absent or not trusted."""

    store: int


@dataclass(frozen=True, slots=True)
class Save:
    """Join `entry` to the stored one atomically. Result: the join, or None if it was not saved.

    The store merges with `join_at`, at its `OrderingTime`.
    """

    store: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Request:
    """Post the credentials that were read. Result: `Token | TokenError`.

    Only the token's value, lifetime, scope and refresh token are used; the core sets its times. An
    error has `local` set if nothing was sent.
    """

    reading: Reading
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class InitialRefused:
    """Log that the server does not take the initial refresh token, and the stored one is used.

    Result: None.
    """

    error: TokenError


@dataclass(frozen=True, slots=True)
class LoginUnsaved:
    """Log that a store has not taken the newest refresh token: the process alone has it.

    Result: None.
    """

    store: int


@dataclass(frozen=True, slots=True)
class Revoke:
    """Revoke a token and its refresh token at the server. Result: `TokenError | None`."""

    reading: Reading
    token: Token


@dataclass(frozen=True, slots=True)
class Hash:
    """Hash the credentials with `salt`. Result: `bytes`; empty if they cannot be hashed.

    Slow (scrypt) if a store is shared between processes, else fast and keyed. The grant remembers
    the last hash, so repeating it is cheap.
    """

    reading: Reading
    salt: bytes


@dataclass(frozen=True, slots=True)
class NewSalt:
    """16 random bytes. Result: `bytes`."""


@dataclass(frozen=True, slots=True)
class MayAdopt:
    """Check that this token belongs to the credentials that were read. Result: `bool`.

    Inside a process a token belongs to the credentials that obtained it. If it has no owner here
    yet, the credentials that ask become its owner, unless the manager must prove them first.
    """

    reading: Reading
    token: Token


@dataclass(frozen=True, slots=True)
class Publish:
    """Release the waiting callers with this result; the renewal goes on. Result: None."""

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
    | InitialRefused
    | LoginUnsaved
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
        stores: the number of stores. Locks are taken from 0, the nearest, up.
        policy: the rules.
        lock_timeout: seconds to wait for a lock before going on without it.
        deadline: seconds after the send. A later result is late: an expired token or an outage in
            it is ignored.
        jitter_fraction: this process's random number in [0, 1).
        exclusive: whether the grant has a rotating refresh token, kept in the farthest store.
        fallback: whether an exclusive grant has other credentials, which start a new login. A
            `Request` without a refresh token posts them.
    """

    stores: int
    policy: RefreshPolicy
    lock_timeout: float
    deadline: float
    jitter_fraction: float
    exclusive: bool = False
    fallback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRequest:
    """What one renewal is asked to do.

    Attributes:
        snapshot: the caller's snapshot.
        start: the caller's reading of both clocks.
        force: send a request even if a back-off, a refusal or the floor between grants forbids it.
    """

    snapshot: Snapshot
    start: Instant
    force: bool = False

    @property
    def rejected(self) -> Token | None:
        """The token that an API rejected, which must not be adopted again."""
        return self.snapshot.token if self.snapshot.rejected else None

    @property
    def blocking(self) -> bool:
        """Whether a caller waits: with `force`, after a 401, or without a usable token."""
        return self.force or not self.snapshot.usable(self.start)
