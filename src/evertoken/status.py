"""The state of a manager at one moment, for a health endpoint; without secrets."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.state import Snapshot
    from evertoken.errors import TokenError


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a manager has done so far. Immutable.

    Attributes:
        grants: tokens obtained from the token endpoint.
        adoptions: tokens adopted from a store.
        failures: renewals that failed, without those that only returned a remembered failure.
        adopted_failures: failures adopted from a store, each counted once.
    """

    grants: int = 0
    adoptions: int = 0
    failures: int = 0
    adopted_failures: int = 0

    def plus(
        self, *, grants: int = 0, adoptions: int = 0, failures: int = 0, adopted_failures: int = 0
    ) -> Counters:
        """These counts, increased by the given numbers."""
        return _counters(
            self.grants + grants,
            self.adoptions + adoptions,
            self.failures + failures,
            self.adopted_failures + adopted_failures,
        )


@functools.lru_cache(maxsize=64)
def _counters(grants: int, adoptions: int, failures: int, adopted_failures: int) -> Counters:
    """One object for all managers with equal counts: a process may hold thousands of managers."""
    return Counters(
        grants=grants,
        adoptions=adoptions,
        failures=failures,
        adopted_failures=adopted_failures,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A manager at one moment.

    Attributes:
        state: `"fresh"`, `"stale"` (usable, renewal due), `"expired"`, `"none"`, `"cooling"` (no
            usable token, waiting after a failed renewal) or `"refused"` (no usable token, waiting
            after refused credentials).
        issued_at, expires_at: of the token, in Unix seconds.
        seconds_left: how long the token will still be sent; 0 without a token.
        scope: the granted scope, if the server named one.
        counters: what the manager has done so far.
        last_error: why the last renewal failed; None after a successful one.
        retry_at: when the next request may be sent, in Unix seconds; None if nothing forbids one.
        renewing: whether a renewal is in flight.
        account: the user name, or the client id of an identity without one; None until the
            credentials have been read.
        token_url: the token endpoint; None if the grant has none.
        failed_at: when the renewal of `last_error` failed, here or in the process that it was
            adopted from, in Unix seconds.
        login_expires_at: when the refresh token of a login expires, in Unix seconds; None without a
            login, or if the server did not say.
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
    account: str | None = None
    token_url: str | None = None
    failed_at: float | None = None
    login_expires_at: float | None = None


def status_of(
    snapshot: Snapshot,
    now: Instant,
    counters: Counters,
    *,
    renewing: bool,
    account: str | None = None,
    token_url: str | None = None,
) -> Status:
    """The status of `snapshot` at `now`."""
    token, failure = snapshot.token, snapshot.failure
    waiting = failure is not None and failure.remaining(now) > 0
    return Status(
        state=_state(snapshot, now),
        issued_at=None if token is None else token.issued_at,
        expires_at=None if token is None else token.expires_at,
        seconds_left=snapshot.seconds_left(now),
        scope=None if token is None else token.scope,
        counters=counters,
        last_error=None if failure is None else failure.error,
        retry_at=next_try(snapshot, failure, now) if failure and waiting else None,
        renewing=renewing,
        account=account,
        token_url=token_url,
        failed_at=None if failure is None else failure.at,
        login_expires_at=_login_end(snapshot),
    )


def _login_end(snapshot: Snapshot) -> float | None:
    login = snapshot.entry.login
    return None if login is None or login.refresh_token is None else login.expires_at


def next_try(snapshot: Snapshot, failure: Failure, now: Instant) -> float:
    """When the next request may be sent after `failure`, in Unix seconds.

    The wait for an outage ends early when the usable token ends.
    """
    if failure.refused or not snapshot.usable(now):
        return failure.until
    return min(failure.until, snapshot.usable_until.wall)


def _state(snapshot: Snapshot, now: Instant) -> str:
    if snapshot.usable(now):
        return "stale" if snapshot.due(now) else "fresh"
    failure = snapshot.failure
    if failure is not None and failure.remaining(now):
        return "refused" if failure.refused else "cooling"
    return "none" if snapshot.token is None else "expired"
