"""What stands: a manager at one moment, fit for a health endpoint and without a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evertoken.policy import next_try

if TYPE_CHECKING:
    from evertoken.errors import TokenError
    from evertoken.instant import Instant
    from evertoken.policy import Snapshot
    from evertoken.token import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a manager has done so far; replaced whole.

    Attributes:
        grants: tokens that it asked for and got.
        adoptions: tokens that it took over from a store.
        failures: renewals that brought none.
    """

    grants: int = 0
    adoptions: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A manager at one moment.

    Attributes:
        state: `"fresh"`, `"stale"` (usable, renewal due), `"expired"`, `"none"`, `"cooling"` (no
            usable token, and a failed renewal is waited out) or `"refused"` (likewise, by the
            token endpoint's word).
        issued_at, expires_at: of the token, in Unix seconds.
        seconds_left: for which the token will still be sent; 0 without one.
        scope: what was granted, where the server named it.
        counters: what was done so far.
        last_error: why the last renewal failed; None after one that did not.
        retry_at: when the endpoint may be asked again, in Unix seconds; None where nothing forbids
            it.
        renewing: whether a renewal is under way.
    """

    state: str
    issued_at: float | None
    expires_at: float | None
    seconds_left: float
    scope: str | None
    counters: Counters
    last_error: TokenError | None
    retry_at: float | None
    renewing: bool


def status_of(snapshot: Snapshot, now: Instant, counters: Counters, *, renewing: bool) -> Status:
    """What `snapshot` means at `now`."""
    token, refusal = snapshot.token, snapshot.refusal
    return Status(
        state=_state(snapshot, now),
        issued_at=None if token is None else token.issued_at,
        expires_at=None if token is None else token.expires_at,
        seconds_left=snapshot.seconds_left(now),
        scope=None if token is None else token.scope,
        counters=counters,
        last_error=None if refusal is None else refusal.error,
        retry_at=None
        if refusal is None or not refusal.remaining(now)
        else next_try(snapshot, refusal, now),
        renewing=renewing,
    )


def _state(snapshot: Snapshot, now: Instant) -> str:
    if snapshot.usable(now):
        return "stale" if snapshot.due(now) else "fresh"
    refusal: Refusal | None = snapshot.refusal
    if refusal is not None and refusal.remaining(now):
        return "refused" if refusal.tag else "cooling"
    return "none" if snapshot.token is None else "expired"
