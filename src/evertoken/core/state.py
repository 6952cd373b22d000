"""What one manager holds and decides by: an immutable snapshot, and the ways to the next one."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evertoken.core.entry import NOTHING, Entry, demoted, join, join_at
from evertoken.core.instant import LONG_AGO, Instant

if TYPE_CHECKING:
    from evertoken.core.effects import Result
    from evertoken.core.failure import Failure
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.token import Token, TokenKey


class Action(enum.Enum):
    """What a caller does with a snapshot."""

    USE = "use"
    REFRESH_IF_FREE = "refresh if free"
    REFRESH_OR_WAIT = "refresh or wait"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a request needs to decide and proceed, published as one object.

    Attributes:
        key: the identity by the last reading of the credentials; None before the first.
        fingerprint: of those credentials; never stored.
        entry: what this manager knows, the tokens of other credentials included.
        token: the newest one held, which is sent; kept past its end, so that the next grant knows
            when the last one was.
        header: the value of `Authorization`; not shown by `repr`.
        fresh_from, fresh_until: Unix seconds between which one look at the wall clock is enough.
        usable_until: when `token` must not be sent any more.
        due_at: when a renewal is tried next.
        rejected: whether an API refused `token` and its replacement is under way.
        failure: the failure being waited out, a local one included.
        blocked_since: since when another process has held the lock, on the clock since boot.
        former: the token that `token` replaced, if that one is sent until `active_at` instead.
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
        """The token of `header`."""
        return self.former or self.token

    def usable(self, now: Instant) -> bool:
        """Whether the token may be sent."""
        return not (self.rejected or self.usable_until.reached(now))

    def due(self, now: Instant) -> bool:
        """Whether a renewal is to be tried."""
        return self.rejected or self.due_at.reached(now)

    def seconds_left(self, now: Instant) -> float:
        """For how many seconds the token may still be sent, by the clock that says less."""
        return max(0.0, self.usable_until.left(now))


EMPTY = Snapshot()


def decide(snapshot: Snapshot, now: Instant) -> Action:
    """What a caller that came at `now` does. Nothing changes this decision afterwards."""
    if snapshot.usable(now):
        return Action.REFRESH_IF_FREE if snapshot.due(now) else Action.USE
    return Action.REFRESH_OR_WAIT if snapshot.due(now) else Action.FAIL


def with_token(
    snapshot: Snapshot, token: Token, now: Instant, policy: RefreshPolicy, *, jitter_fraction: float
) -> Snapshot:
    """`snapshot` with a token that was just granted or adopted.

    A token whose time of issue on the clock since boot is unknown is held to that clock from now
    on, so that setting the wall clock back cannot prolong it. The token that was sent before is
    still sent for the policy's `activation_delay`.
    """
    if token.issued_boot is None:
        token = replace(token, issued_boot=now.boot - max(0.0, now.wall - token.issued_at))
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
    """`snapshot` that still sends `former`, while that lives and is not known to be dead."""
    dead = not policy.usable(former, now) or snapshot.entry.kills(former)
    if dead or not policy.activation_delay:
        return snapshot
    active_at = now.after(policy.activation_delay).earlier(policy.usable_until(former))
    return replace(snapshot, former=former, header=_header_of(former), active_at=active_at)


def promoted(snapshot: Snapshot) -> Snapshot:
    """`snapshot` that sends its newest token from now on."""
    if snapshot.former is None or snapshot.token is None:
        return snapshot
    header = _header_of(snapshot.token)
    return replace(closed(snapshot), former=None, header=header, active_at=LONG_AGO)


def activated(snapshot: Snapshot, now: Instant) -> Snapshot:
    """`snapshot`, `promoted` if its newest token is active by now."""
    return promoted(snapshot) if snapshot.active_at.reached(now) else snapshot


def _header_of(token: Token) -> str:
    return f"Bearer {token.value}"


def with_failure(
    snapshot: Snapshot, failure: Failure, now: Instant, policy: RefreshPolicy
) -> Snapshot:
    """`snapshot` after a failed renewal.

    The next try comes when the back-off ends, or when a live token ends, whichever is sooner.
    """
    due_at = now.after(failure.remaining(now))
    if snapshot.usable(now):
        due_at = due_at.earlier(snapshot.usable_until)
    elif failure.refused:
        # changed credentials end a cool-down, so they are read again before it is over
        due_at = due_at.earlier(now.after(policy.recheck))
    return replace(closed(snapshot), due_at=due_at, failure=failure, blocked_since=None)


def with_fast_path(
    snapshot: Snapshot, now: Instant, policy: RefreshPolicy, *, poll_in: float = math.inf
) -> Snapshot:
    """`snapshot`, open to the one-clock check until it is due or the store is polled.

    The window has a start too: if the wall clock is set back, it falls out of the window, and both
    clocks are read again.

    Args:
        snapshot: what is published.
        now: both clocks.
        policy: its `recheck` bounds the window.
        poll_in: seconds until the next poll, which may bring a revocation.
    """
    ends = [policy.recheck, snapshot.due_at.left(now), snapshot.usable_until.left(now), poll_in]
    if snapshot.former is not None:
        ends.append(snapshot.active_at.left(now))
    return replace(snapshot, fresh_from=now.wall, fresh_until=now.wall + max(0.0, min(ends)))


def closed(snapshot: Snapshot) -> Snapshot:
    """`snapshot` without its fast path: the next call goes through `decide`."""
    open_ = snapshot.fresh_until > -math.inf
    return replace(snapshot, fresh_until=-math.inf) if open_ else snapshot


def with_rejected(snapshot: Snapshot) -> Snapshot:
    """`snapshot` while a token that an API refused is replaced: new callers wait for the next."""
    return replace(closed(snapshot), rejected=True)


def postponed(
    snapshot: Snapshot, now: Instant, policy: RefreshPolicy, *, blocked: bool = True
) -> Snapshot:
    """`snapshot` after a renewal without a result, as while another process holds the lock.

    The next try is soon.
    """
    due_at = now.after(policy.poll_pause(snapshot.token)).earlier(snapshot.usable_until)
    since = snapshot.blocked_since
    if blocked and since is None:
        since = now.boot
    return replace(snapshot, due_at=due_at, blocked_since=since if blocked else None)


def without_token(snapshot: Snapshot) -> Snapshot:
    """`snapshot` whose token is dead: the next call renews, unless a failure forbids it."""
    return Snapshot(key=snapshot.key, fingerprint=snapshot.fingerprint, entry=snapshot.entry)


def invalidated(snapshot: Snapshot, value: str, known: Entry = NOTHING) -> Snapshot:
    """`snapshot` after the token with this value was declared dead; a later one stays.

    Save its `entry`: that is what tells the siblings. `known` is what a store holds, where the
    token may be newer than the one of this manager.
    """
    tokens = (snapshot.token, snapshot.former, snapshot.entry.token, known.token)
    dead = [token.generation for token in tokens if token is not None and token.value == value]
    if not dead:
        return snapshot
    return revoked(snapshot, Entry.of_revocation(max(dead)))


def revoked(snapshot: Snapshot, entry: Entry) -> Snapshot:
    """`snapshot` after a revocation that `entry` tells of."""
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
        snapshot: what the manager holds, of the identity that the store was asked for.
        entry: what the store holds.
        now: both clocks.
        policy: the rules.
        jitter_fraction: in [0, 1), this process's own.
        may_adopt: whether the token in `entry` belongs to this manager's credentials.

    Returns:
        The same object if nothing new was learnt.
    """
    snapshot = knowing(snapshot, entry or NOTHING, now)
    token = snapshot.entry.token
    if may_adopt and token is not None and _replaces(token, snapshot) and policy.usable(token, now):
        snapshot = with_token(snapshot, token, now, policy, jitter_fraction=jitter_fraction)
    return _with_outage(snapshot, now, policy)


def _with_outage(snapshot: Snapshot, now: Instant, policy: RefreshPolicy) -> Snapshot:
    """`snapshot`, waiting out the outage that it knows of.

    A fresh token is left alone: a renewal meets the outage in the store if it is still there then.
    """
    outage, token = snapshot.entry.outage, snapshot.entry.token
    if outage is None or outage.repeats(snapshot.failure) or decide(snapshot, now) is Action.USE:
        return snapshot
    in_force = policy.in_force(outage, token, now)
    return with_failure(snapshot, outage, now, policy) if in_force else snapshot


def apply_result(
    snapshot: Snapshot,
    result: Result,
    now: Instant,
    policy: RefreshPolicy,
    *,
    jitter_fraction: float,
) -> Snapshot:
    """`snapshot` after a renewal. Its waiting callers receive `result.token` or its error.

    An expired token is kept for those who waited for it, unless the result is late: then the
    process was frozen, and would send a token that is long dead.
    """
    snapshot = _identified(snapshot, result)
    snapshot = closed(knowing(snapshot, result.entry, now))
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


def received(snapshot: Snapshot, result: Result, now: Instant, *, came: Instant) -> Token | None:
    """The token that a caller who waited for `result` gets; None: its error, or it asks again.

    A token that had expired when it arrived is given only to callers that were already waiting:
    one with a lifetime of 0 would otherwise never be used. A caller that came later, after its
    process was frozen, would send a token that it knows to be dead.

    Args:
        snapshot: what `apply_result` made of the result.
        result: what came of the renewal.
        now: when the caller goes on.
        came: when it began to wait.
    """
    if snapshot.usable(now):
        return snapshot.token
    own, new = snapshot.token, result.token
    arrived = own is not None and new is not None and own.value == new.value
    waited = arrived and not result.late(now) and snapshot.usable_until.left(came) >= 0
    return own if waited else None


def _arrives(
    token: Token, snapshot: Snapshot, result: Result, now: Instant, policy: RefreshPolicy
) -> bool:
    if snapshot.entry.kills(token) or (result.late(now) and not policy.usable(token, now)):
        return False
    return not snapshot.usable(now) or _replaces(token, snapshot) or _granted_again(token, snapshot)


def _granted_again(token: Token, snapshot: Snapshot) -> bool:
    """Whether a server answered with the token that it gave before, which has new times now.

    With the old ones it would stay due, and be requested once a second until it ends.
    """
    own = snapshot.token
    return own is not None and token.value == own.value and token.generation > own.generation


def _identified(snapshot: Snapshot, result: Result) -> Snapshot:
    """`snapshot` of the identity that was renewed; nothing crosses from one to another."""
    if result.key is None:
        return snapshot
    if snapshot.key == result.key and snapshot.fingerprint == result.fingerprint:
        return snapshot
    if snapshot.key not in {None, result.key}:
        snapshot = EMPTY
    return replace(snapshot, key=result.key, fingerprint=result.fingerprint)


def knowing(snapshot: Snapshot, entry: Entry, now: Instant) -> Snapshot:
    """`snapshot` that knows `entry` too; the same object if that is no news.

    Demotes the manager's own token too: a generation from the far future would beat every later
    token.
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
    if snapshot.failure is not None and _logged_in_anew(before, known):
        # what was remembered of the old login has ended
        snapshot = replace(closed(snapshot), failure=None, due_at=LONG_AGO)
    if token is not snapshot.token:
        # the order of the two is lost
        snapshot = promoted(snapshot)
    return _without_dead_token(replace(snapshot, entry=known, token=token))


def _logged_in_anew(before: Entry, known: Entry) -> bool:
    """Whether `known` has a newer login than `before`."""
    if known.login is None:
        return False
    return before.login is None or known.login.generation > before.login.generation


def _without_dead_token(snapshot: Snapshot) -> Snapshot:
    token, former, entry = snapshot.token, snapshot.former, snapshot.entry
    if token is not None and entry.kills(token):
        return without_token(snapshot)
    return promoted(snapshot) if former is not None and entry.kills(former) else snapshot


def _replaces(token: Token, snapshot: Snapshot) -> bool:
    own = snapshot.token
    return own is None or (token.value != own.value and token.order > own.order)
