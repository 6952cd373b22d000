"""The outcome of a renewal or a revocation, and the snapshot that follows from it."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evertoken.core.entry import NOTHING, Entry
from evertoken.core.state import (
    EMPTY,
    Snapshot,
    informed_by,
    promoted,
    replaces,
    with_failure,
    with_token,
    without_fast_path,
)

if TYPE_CHECKING:
    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.token import Token, TokenKey
    from evertoken.errors import TokenError


class Source(enum.Enum):
    """Where the result of a renewal came from."""

    GRANT = "the token endpoint"
    STORE = "a store"
    REMEMBERED = "a failure that the manager remembered"
    BUSY = "another process is renewing"
    INTERRUPTED = "the caller that ran it was interrupted"
    REVOKED = "the token was revoked while its request was in flight"
    FAILED_LATE = "the renewal failed after its deadline: its error says nothing about the endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a renewal. With neither token nor failure, a waiting caller asks again.

    Attributes:
        source: where it came from.
        entry: everything the renewal learnt, including tokens of other credentials.
        token: the token for the waiting callers.
        failure: the failure that is waited out from now on.
        store: the number of the store that it was adopted from.
        key, fingerprint: of the credentials that were read; None and empty if reading failed.
        seconds: how long it took.
        deadline: on the clock since boot; an expired token that arrives later is dropped.
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
        """Whether memory and stores did not suffice; true for a crash or a local failure too."""
        return self.source is Source.GRANT

    @property
    def blocked(self) -> bool:
        """Whether another process held the lock."""
        return self.source is Source.BUSY

    def late(self, now: Instant) -> bool:
        """Whether this came after its deadline, which means that the process was suspended."""
        return now.boot > self.deadline

    @property
    def error(self) -> TokenError | None:
        """The error for a waiting caller if there is no token."""
        return None if self.token or self.failure is None else self.failure.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """The outcome of a revocation.

    Attributes:
        tokens: the revoked tokens, whether the server confirmed it or not.
        entry: to be merged into the snapshot, and saved by the next poll if a store was
            unreachable.
        error: the first error, if the server did not confirm all of them.
    """

    tokens: tuple[Token, ...]
    entry: Entry
    error: TokenError | None = None


def apply_result(
    snapshot: Snapshot,
    result: Result,
    now: Instant,
    policy: RefreshPolicy,
    *,
    jitter_fraction: float,
) -> Snapshot:
    """`snapshot` after a renewal. `token_for_waiter` says what its waiting callers get.

    An expired token is kept for callers that waited for it, unless the result is late: the process
    was suspended, and the token expired long ago.
    """
    snapshot = _identified(snapshot, result)
    snapshot = without_fast_path(informed_by(snapshot, result.entry, now))
    rejected = snapshot.rejected
    if rejected:
        snapshot = replace(snapshot, rejected=False)
    token = result.token
    if token is not None and _arrives(token, snapshot, result, now, policy):
        snapshot = with_token(snapshot, token, now, policy, jitter_fraction=jitter_fraction)
    if rejected:
        snapshot = promoted(snapshot)
    if result.failure is not None:
        return with_failure(snapshot, result.failure, now, policy)
    if token is not None:
        return snapshot
    return postponed(snapshot, now, policy, blocked=result.blocked)


def token_for_waiter(
    snapshot: Snapshot, result: Result, now: Instant, *, waiting_since: Instant
) -> Token | None:
    """The token for a caller that waited for `result`; None if it gets the error or asks again.

    A token that had expired when it arrived is given only to callers that were already waiting;
    otherwise a token with a lifetime of 0 could never be used. A caller that came later would send
    a token that it knows to be dead.

    Args:
        snapshot: the snapshot that `apply_result` returned for `result`.
        result: the outcome of the renewal.
        now: when the caller continues.
        waiting_since: when it began to wait.
    """
    if snapshot.usable(now):
        return snapshot.token
    own, new = snapshot.token, result.token
    arrived = own is not None and new is not None and own.value == new.value
    waited = arrived and not result.late(now) and snapshot.usable_until.left(waiting_since) >= 0
    return own if waited else None


def postponed(
    snapshot: Snapshot, now: Instant, policy: RefreshPolicy, *, blocked: bool = True
) -> Snapshot:
    """`snapshot` after a renewal without a result, as when another process holds the lock.

    The next try is soon.
    """
    due_at = now.after(policy.poll_pause(snapshot.token)).earlier(snapshot.usable_until)
    since = snapshot.blocked_since
    if blocked and since is None:
        since = now.boot
    return replace(snapshot, due_at=due_at, blocked_since=since if blocked else None)


def _arrives(
    token: Token, snapshot: Snapshot, result: Result, now: Instant, policy: RefreshPolicy
) -> bool:
    if snapshot.entry.kills(token) or (result.late(now) and not policy.usable(token, now)):
        return False
    return not snapshot.usable(now) or replaces(token, snapshot) or _granted_again(token, snapshot)


def _granted_again(token: Token, snapshot: Snapshot) -> bool:
    """Whether the server returned the token it gave before, with new times.

    With the old times it would stay due, and be requested once a second until it expires.
    """
    own = snapshot.token
    return own is not None and token.value == own.value and token.generation > own.generation


def _identified(snapshot: Snapshot, result: Result) -> Snapshot:
    """`snapshot` for the identity that was renewed; nothing is carried over from another one."""
    if result.key is None:
        return snapshot
    if snapshot.key == result.key and snapshot.fingerprint == result.fingerprint:
        return snapshot
    if snapshot.key not in {None, result.key}:
        snapshot = EMPTY
    return replace(snapshot, key=result.key, fingerprint=result.fingerprint)
