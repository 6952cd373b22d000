"""The immutable snapshot of one manager, the decision on it, and the transitions to the next."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evertoken.core.entry import NOTHING, Entry, demoted, join, join_at, next_generation
from evertoken.core.instant import LONG_AGO, Instant
from evertoken.errors import GrantRefused

if TYPE_CHECKING:
    from evertoken.core.failure import Failure
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.token import Token, TokenKey


class Action(enum.Enum):
    """What a caller does, given a snapshot."""

    USE = "use"
    REFRESH_IF_FREE = "refresh if free"
    REFRESH_OR_WAIT = "refresh or wait"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything a request needs to decide and proceed, published as one object.

    Attributes:
        key: the identity in the last reading of the credentials; None before the first.
        fingerprint: of those credentials; never stored.
        entry: what this manager knows, including tokens of other credentials.
        token: the newest token held. It is kept after it expires, so that the next grant knows when
            the last one was.
        header: the value of `Authorization`; not shown by `repr`.
        fresh_from, fresh_until: the Unix seconds between which reading the wall clock is enough to
            decide.
        usable_until: when `token` stops being usable.
        due_at: when a renewal is tried next.
        rejected: whether an API rejected `token` and its replacement is under way.
        failure: the failure being waited out, a local one included.
        blocked_since: when the wait for another process's lock began, on the clock since boot.
        former: the token before `token`, if it is sent instead until `active_at`.
    """

    key: TokenKey | None = None
    fingerprint: bytes = field(default=b"", repr=False)
    entry: Entry = NOTHING
    token: Token | None = None
    header: str = field(default="", repr=False)
    fresh_from: float = math.inf
    fresh_until: float = -math.inf
    usable_until: Instant = LONG_AGO
    due_at: Instant = LONG_AGO
    rejected: bool = False
    failure: Failure | None = None
    blocked_since: float | None = None
    former: Token | None = None
    active_at: Instant = LONG_AGO

    @property
    def sent(self) -> Token | None:
        """The token in `header`."""
        return self.former or self.token

    def usable(self, now: Instant) -> bool:
        """Whether the token may be sent."""
        return not (self.rejected or self.usable_until.reached(now))

    def due(self, now: Instant) -> bool:
        """Whether a renewal is due."""
        return self.rejected or self.due_at.reached(now)

    def seconds_left(self, now: Instant) -> float:
        """Seconds for which the token may still be sent, on the clock that ends it first."""
        return max(0.0, self.usable_until.left(now))


EMPTY = Snapshot()


def decide(snapshot: Snapshot, now: Instant) -> Action:
    """What a caller does at `now`. Nothing else changes this decision."""
    if snapshot.usable(now):
        return Action.REFRESH_IF_FREE if snapshot.due(now) else Action.USE
    return Action.REFRESH_OR_WAIT if snapshot.due(now) else Action.FAIL


def with_token(
    snapshot: Snapshot, token: Token, now: Instant, policy: RefreshPolicy, *, jitter_fraction: float
) -> Snapshot:
    """`snapshot` with a newly granted or adopted token.

    If the token has no issue time on the clock since boot, one is set now, so that setting the wall
    clock back cannot prolong it. The previous token is still sent for the policy's
    `activation_delay`.
    """
    token = token.dated(now)
    entry = snapshot.entry
    after = Snapshot(
        key=snapshot.key,
        fingerprint=snapshot.fingerprint,
        entry=entry if entry.token is token else join(entry, Entry.of_token(token)),
        token=token,
        header=_header_of(token),
        usable_until=policy.usable_until(token),
        due_at=policy.due_at(token, jitter_fraction=jitter_fraction),
    )
    former = snapshot.sent
    if former is None or snapshot.rejected or former.value == token.value:
        return after
    return _with_former(after, former, now, policy)


def _with_former(
    snapshot: Snapshot, former: Token, now: Instant, policy: RefreshPolicy
) -> Snapshot:
    """`snapshot` that still sends `former`, if that is usable and not revoked."""
    dead = not policy.usable(former, now) or snapshot.entry.kills(former)
    if dead or not policy.activation_delay:
        return snapshot
    active_at = now.after(policy.activation_delay).earlier(policy.usable_until(former))
    return replace(snapshot, former=former, header=_header_of(former), active_at=active_at)


def promoted(snapshot: Snapshot) -> Snapshot:
    """`snapshot` that sends its newest token."""
    if snapshot.former is None or snapshot.token is None:
        return snapshot
    header = _header_of(snapshot.token)
    return replace(without_fast_path(snapshot), former=None, header=header, active_at=LONG_AGO)


def activated(snapshot: Snapshot, now: Instant) -> Snapshot:
    """`snapshot`, `promoted` if the activation delay is over at `now`."""
    return promoted(snapshot) if snapshot.active_at.reached(now) else snapshot


def _header_of(token: Token) -> str:
    return f"Bearer {token.value}"


def with_failure(
    snapshot: Snapshot, failure: Failure, now: Instant, policy: RefreshPolicy
) -> Snapshot:
    """`snapshot` after a failed renewal.

    The next try comes when the back-off ends or the usable token ends, whichever is sooner.
    """
    due_at = now.after(failure.remaining(now))
    if snapshot.usable(now):
        due_at = due_at.earlier(snapshot.usable_until)
    elif isinstance(failure.error, GrantRefused):
        # changed credentials, or a new login, end a cool-down, so they are read again before that
        due_at = due_at.earlier(now.after(policy.recheck))
    return replace(without_fast_path(snapshot), due_at=due_at, failure=failure, blocked_since=None)


def with_fast_path(
    snapshot: Snapshot, now: Instant, policy: RefreshPolicy, *, poll_in: float = math.inf
) -> Snapshot:
    """`snapshot`, with the one-clock check enabled until it is due or the store is polled.

    The window also has a start: a wall clock that is set back leaves the window, and both clocks
    are read again.

    Args:
        snapshot: the published snapshot.
        now: both clocks.
        policy: its `recheck` bounds the window.
        poll_in: seconds until the next poll, which may bring a revocation.
    """
    ends = [policy.recheck, snapshot.due_at.left(now), snapshot.usable_until.left(now), poll_in]
    if snapshot.former is not None:
        ends.append(snapshot.active_at.left(now))
    return replace(snapshot, fresh_from=now.wall, fresh_until=now.wall + max(0.0, min(ends)))


def without_fast_path(snapshot: Snapshot) -> Snapshot:
    """`snapshot` with the one-clock check disabled: the next call goes through `decide`."""
    open_ = snapshot.fresh_until > -math.inf
    return replace(snapshot, fresh_until=-math.inf) if open_ else snapshot


def with_rejected(snapshot: Snapshot) -> Snapshot:
    """`snapshot` while a rejected token is replaced: new callers wait for the next token."""
    return replace(without_fast_path(snapshot), rejected=True)


def without_token(snapshot: Snapshot) -> Snapshot:
    """`snapshot` without its dead token: the next call renews, unless a failure forbids it."""
    return Snapshot(key=snapshot.key, fingerprint=snapshot.fingerprint, entry=snapshot.entry)


def invalidated(snapshot: Snapshot, value: str, known: Entry = NOTHING) -> Snapshot:
    """`snapshot` after the token with this value was declared dead; a newer token stays.

    Save its `entry` to inform siblings. `known` is what the stores hold: there the token may have a
    higher generation than in this manager.
    """
    tokens = (snapshot.token, snapshot.former, snapshot.entry.token, known.token)
    dead = [token.generation for token in tokens if token is not None and token.value == value]
    if not dead:
        return snapshot
    return revoked(snapshot, Entry.of_revocation(max(dead)))


def revoked(snapshot: Snapshot, entry: Entry) -> Snapshot:
    """`snapshot` after the revocation in `entry`."""
    return _without_dead_token(replace(snapshot, entry=join(snapshot.entry, entry)))


def merge_shared(
    snapshot: Snapshot,
    entry: Entry | None,
    now: Instant,
    policy: RefreshPolicy,
    *,
    jitter_fraction: float,
    may_adopt: bool,
) -> Snapshot:
    """`snapshot` after a poll of a store.

    Args:
        snapshot: the manager's, of the identity that was polled.
        entry: what the store holds.
        now: both clocks.
        policy: the rules.
        jitter_fraction: this process's random number in [0, 1).
        may_adopt: whether the token in `entry` belongs to this manager's credentials.

    Returns:
        The same object if the store held nothing new.
    """
    snapshot = informed_by(snapshot, entry or NOTHING, now)
    token = snapshot.entry.token
    if may_adopt and token is not None and replaces(token, snapshot) and policy.usable(token, now):
        snapshot = with_token(snapshot, token, now, policy, jitter_fraction=jitter_fraction)
    return _with_outage(snapshot, now, policy)


def _with_outage(snapshot: Snapshot, now: Instant, policy: RefreshPolicy) -> Snapshot:
    """`snapshot`, waiting out an outage in its entry.

    A fresh token is left alone: its renewal will find the outage in the store, if it lasts.
    """
    outage, token = snapshot.entry.outage, snapshot.entry.token
    if outage is None or outage.repeats(snapshot.failure) or decide(snapshot, now) is Action.USE:
        return snapshot
    in_force = policy.in_force(outage, token, now)
    return with_failure(snapshot, outage, now, policy) if in_force else snapshot


def informed_by(snapshot: Snapshot, entry: Entry, now: Instant) -> Snapshot:
    """`snapshot` joined with `entry`; the same object if that adds nothing.

    It also demotes the manager's own token: a generation from the far future would beat every later
    one.
    """
    before = snapshot.entry
    if entry in (before, NOTHING) and demoted(before, now.wall) is before:
        return snapshot
    known = join_at(before, entry, now.wall)
    if known == before:
        return snapshot
    token = snapshot.token
    if token is not None:
        token = demoted(Entry(token, None, before.revoked_through), now.wall).token
    if snapshot.failure is not None and _has_newer_login(before, known):
        # the failure belonged to the old login
        snapshot = replace(without_fast_path(snapshot), failure=None, due_at=LONG_AGO)
    if token is not snapshot.token:
        # demotion has lost the order of the two tokens
        snapshot = promoted(snapshot)
    return _without_dead_token(replace(snapshot, entry=known, token=token))


def _has_newer_login(before: Entry, known: Entry) -> bool:
    """Whether `known` has a newer login than `before`."""
    if known.login is None:
        return False
    return before.login is None or known.login.generation > before.login.generation


def _without_dead_token(snapshot: Snapshot) -> Snapshot:
    token, former, entry = snapshot.token, snapshot.former, snapshot.entry
    if token is not None and entry.kills(token):
        return without_token(snapshot)
    return promoted(snapshot) if former is not None and entry.kills(former) else snapshot


def over(entry: Entry, now: Instant) -> Entry:
    """The failures of `entry`, each ended at `now`: joined to it, they forbid nothing any more."""
    if not entry.failures:
        return NOTHING
    generation = next_generation(entry, now.wall)
    ended = (
        replace(
            each,
            at=now.wall,
            until=now.wall,
            # an acceptance, as after a grant
            count=0 if each.refused else each.count,
            generation=generation,
            at_boot=now.boot,
        )
        for each in entry.failures
    )
    return Entry(failures=tuple(ended), salt=entry.salt)


def without_failure(
    snapshot: Snapshot, policy: RefreshPolicy, *, jitter_fraction: float
) -> Snapshot:
    """`snapshot` that waits for nothing: its renewal is due as it was before the failure."""
    token = snapshot.token
    if snapshot.failure is None:
        return snapshot
    due_at = LONG_AGO if token is None else policy.due_at(token, jitter_fraction=jitter_fraction)
    return replace(without_fast_path(snapshot), failure=None, due_at=due_at)


def replaces(token: Token, snapshot: Snapshot) -> bool:
    """Whether `token` is newer than the token of `snapshot`."""
    own = snapshot.token
    return own is None or (token.value != own.value and token.order > own.order)
