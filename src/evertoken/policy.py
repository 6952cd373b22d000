"""When a token is renewed, and who waits: pure functions over immutable snapshots."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from evertoken.instant import LONG_AGO, Instant
from evertoken.token import Entry, Refusal, Token, token_of

if TYPE_CHECKING:
    from evertoken.errors import TokenError

GRANT_FLOOR = 1.0
"""Seconds between two grants of one identity that nobody forced."""

LONGEST_RETRY_AFTER = 3600.0
"""Seconds: a longer `Retry-After` is cut to it."""


class Action(enum.Enum):
    """What a caller does with a snapshot."""

    USE = "use"
    REFRESH_IF_FREE = "refresh if free"
    REFRESH_OR_WAIT = "refresh or wait"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """When to renew, and how often to ask. All but `jitter` in seconds.

    Attributes:
        refresh_before: renew this long before expiry, but at most a quarter of the lifetime.
        expiry_margin: send no token this close to its expiry, but at most a 20th of the lifetime.
        jitter: moves a renewal earlier by up to this share of its window, and a back-off as much,
            so that processes that started together do not renew together.
        retry_after: the pause after a first failure; it doubles up to `retry_after_max`.
        refusal_cooldown: the pause after a refusal; it doubles up to `refusal_cooldown_max`.
        recheck: how often a process looks whether a sibling changed the shared token.

    Raises:
        ValueError: a negative or infinite number, or a maximum below its start.
    """

    refresh_before: float = 120.0
    expiry_margin: float = 10.0
    jitter: float = 0.25
    retry_after: float = 1.0
    retry_after_max: float = 60.0
    refusal_cooldown: float = 300.0
    refusal_cooldown_max: float = 3600.0
    recheck: float = 1.0

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{option.name} must be a finite number >= 0, not {value!r}")
        if self.jitter > 1:
            raise ValueError(f"jitter is a share of the window, at most 1, not {self.jitter!r}")
        if self.retry_after > self.retry_after_max:
            raise ValueError("retry_after must not be above retry_after_max")
        if self.refusal_cooldown > self.refusal_cooldown_max:
            raise ValueError("refusal_cooldown must not be above refusal_cooldown_max")

    def window(self, token: Token) -> float:
        """Seconds before expiry in which `token` is renewed."""
        return min(self.refresh_before, token.lifetime / 4)

    def margin(self, token: Token) -> float:
        """Seconds before expiry in which `token` is not sent."""
        return min(self.expiry_margin, token.lifetime / 20)

    def usable_until(self, token: Token) -> Instant:
        """When `token` must not be sent any more."""
        return _moment(token, token.lifetime - self.margin(token))

    def due_at(self, token: Token, *, draw: float) -> Instant:
        """When `token` is to be renewed; `draw` in [0, 1) is this process's lot."""
        early = max(self.window(token) * (1 + self.jitter * draw), self.margin(token))
        return _moment(token, token.lifetime - early)

    def overdue_at(self, token: Token, *, draw: float) -> Instant:
        """When its renewal is put off no longer for a busy lock: half a window before its end."""
        early = self.margin(token) + self.window(token) / 2 * (1 + self.jitter * draw)
        return _moment(token, token.lifetime - early)

    def usable(self, token: Token, now: Instant) -> bool:
        """Whether `token` may be sent: its times are plausible and it has not come to its end."""
        return token.plausible(now) and not self.usable_until(token).reached(now)

    def pause(self, token: Token | None) -> float:
        """Seconds until the store is looked at again while a sibling renews `token`."""
        return self.recheck if token is None else min(self.recheck, self.window(token) / 4)

    def backoff(self, error: TokenError, *, failures: int, refused: bool, draw: float) -> float:
        """Seconds until the endpoint is asked again after `failures` failures in a row."""
        # 2.0 ** 1024 overflows, and no pause doubles that often
        doublings = 2.0 ** min(failures - 1, 64)
        if refused:
            pause = min(self.refusal_cooldown_max, self.refusal_cooldown * doublings)
        else:
            pause = min(self.retry_after_max, self.retry_after * doublings)
            # distrusted TLS, or a proxy that wants a login: only a person can mend that
            pause = self.retry_after_max if error.local and not error.transient else pause
            pause *= 1 - self.jitter * draw
        asked = 0.0 if error.retry_after is None else min(error.retry_after, LONGEST_RETRY_AFTER)
        return max(pause, asked)


def _moment(token: Token, age: float) -> Instant:
    boot = math.inf if token.issued_boot is None else token.issued_boot + age
    return Instant(token.issued_at + age, boot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a request needs to decide and proceed, published as one object.

    Attributes:
        token: what is sent; kept past its end, so that the next grant knows when the last one was.
        header: the value of `Authorization`; not shown by `repr`.
        fresh_from, fresh_until: Unix seconds between which one look at the wall clock is enough.
        usable_until: when `token` must not be sent any more.
        due_at: when a renewal is to be tried.
        refusal: why there is none, or why there will be none, for now.
        blocked_since: since when the lock has not been had, on the clock since boot.
    """

    token: Token | None = None
    header: str = field(default="", repr=False)
    fresh_from: float = math.inf
    fresh_until: float = -math.inf
    usable_until: Instant = LONG_AGO
    due_at: Instant = LONG_AGO
    refusal: Refusal | None = None
    blocked_since: float | None = None

    def usable(self, now: Instant) -> bool:
        """Whether the token may be sent."""
        return not self.usable_until.reached(now)

    def seconds_left(self, now: Instant) -> float:
        """For how many seconds the token may still be sent, by whichever clock says less."""
        return max(0.0, self.usable_until.left(now))

    def due(self, now: Instant) -> bool:
        """Whether a renewal is to be tried."""
        return self.due_at.reached(now)


EMPTY = Snapshot()


def decide(snapshot: Snapshot, now: Instant) -> Action:
    """What a caller that came at `now` does."""
    if snapshot.usable(now):
        return Action.REFRESH_IF_FREE if snapshot.due(now) else Action.USE
    return Action.REFRESH_OR_WAIT if snapshot.due(now) else Action.FAIL


def holding(token: Token, now: Instant, policy: RefreshPolicy, *, draw: float) -> Snapshot:
    """The snapshot of a token just granted or adopted.

    A token whose time of issue on the clock since boot is unknown is held to that clock from now
    on, so that setting the wall clock back cannot prolong it.
    """
    if token.issued_boot is None:
        token = replace(token, issued_boot=now.boot - max(0.0, now.wall - token.issued_at))
    return Snapshot(
        token=token,
        header=f"Bearer {token.value}",
        usable_until=policy.usable_until(token),
        due_at=policy.due_at(token, draw=draw),
    )


def watched(snapshot: Snapshot, now: Instant, policy: RefreshPolicy) -> Snapshot:
    """`snapshot`, open to the one-clock check until it is due or the store is to be looked at.

    The window has a start too: a wall clock that is set back falls out of it, and both clocks are
    asked again.
    """
    left = min(policy.recheck, snapshot.due_at.left(now), snapshot.usable_until.left(now))
    return replace(snapshot, fresh_from=now.wall, fresh_until=now.wall + left)


def unwatched(snapshot: Snapshot) -> Snapshot:
    """`snapshot`, closed to the one-clock check: the next caller looks at everything."""
    return replace(snapshot, fresh_until=-math.inf)


def postponed(snapshot: Snapshot, now: Instant, policy: RefreshPolicy) -> Snapshot:
    """`snapshot` while the lock is not to be had: look again soon, at its end at the latest."""
    due_at = now.after(policy.pause(snapshot.token)).earlier(snapshot.usable_until)
    since = now.boot if snapshot.blocked_since is None else snapshot.blocked_since
    return replace(snapshot, due_at=due_at, blocked_since=since)


def failed(snapshot: Snapshot, refusal: Refusal, now: Instant, policy: RefreshPolicy) -> Snapshot:
    """`snapshot` after a failed renewal: a later try, at the end of a live token at the latest."""
    due_at = now.after(refusal.remaining(now))
    if snapshot.usable(now):
        due_at = due_at.earlier(snapshot.usable_until)
    elif refusal.tag:
        # changed credentials lift a refusal, so they are asked again before it ends
        due_at = due_at.earlier(now.after(policy.recheck))
    return replace(unwatched(snapshot), due_at=due_at, refusal=refusal, blocked_since=None)


def next_try(snapshot: Snapshot, refusal: Refusal, now: Instant) -> float:
    """When the endpoint may be asked again after `refusal`, in Unix seconds.

    An outage is not waited out beyond the end of a token that lives.
    """
    if refusal.tag or not snapshot.usable(now):
        return refusal.until
    return min(refusal.until, snapshot.usable_until.wall)


def stands(refusal: Refusal, now: Instant, policy: RefreshPolicy) -> bool:
    """Whether `refusal` still forbids a grant.

    An outage that began while a token lived is tried again when that token ends, once for all
    siblings; refused credentials are not.
    """
    if refusal.error is None or not refusal.remaining(now):
        return False
    if refusal.tag or refusal.token is None or policy.usable(refusal.token, now):
        return True
    return not policy.usable(refusal.token, _moment_of(refusal, now))


def _moment_of(refusal: Refusal, now: Instant) -> Instant:
    boot = now.boot if refusal.refused_boot is None else refusal.refused_boot
    return Instant(refusal.refused_at, boot)


def dated_as(own: Token | None, token: Token) -> Token:
    """`token`; where it is a copy of `own` that lost its reading, with that: it lives no longer."""
    if own is None or own.value != token.value or token.issued_boot is not None:
        return token
    return replace(token, issued_boot=own.issued_boot)


def landed(
    snapshot: Snapshot, entry: Entry | None, now: Instant, policy: RefreshPolicy, *, draw: float
) -> Snapshot:
    """`snapshot` after a renewal that brought `entry`; None: a sibling is at it."""
    if entry is None:
        return postponed(snapshot, now, policy)
    token, own = token_of(entry), snapshot.token
    # one that is over at once is for who waited; one that came with a refusal is not
    if token is not None and (isinstance(entry, Token) or policy.usable(token, now)):
        token = dated_as(own, token)
        if own is None or not snapshot.usable(now) or not own.later_than(token):
            snapshot = holding(token, now, policy, draw=draw)
    return failed(snapshot, entry, now, policy) if isinstance(entry, Refusal) else snapshot


def absorbed(
    snapshot: Snapshot, entry: Entry | None, now: Instant, policy: RefreshPolicy, *, draw: float
) -> Snapshot:
    """`snapshot` after a look at what siblings share."""
    if isinstance(entry, Token):
        return _adopted(snapshot, entry, now, policy, draw=draw)
    if entry is None:
        return snapshot
    own = snapshot.token
    if own is not None and entry.ends(own, now):
        return EMPTY
    if entry.token is not None:
        snapshot = _adopted(snapshot, entry.token, now, policy, draw=draw)
    own = snapshot.token
    outlived = own is not None and entry.refused_at < own.issued_at
    # whether a refusal of credentials concerns this process is for a renewal to tell
    if outlived or entry.tag or snapshot.refusal == entry or not stands(entry, now, policy):
        return snapshot
    return failed(snapshot, entry, now, policy)


def _adopted(
    snapshot: Snapshot, token: Token, now: Instant, policy: RefreshPolicy, *, draw: float
) -> Snapshot:
    own = snapshot.token
    if own is not None and (own.value == token.value or not token.later_than(own)):
        return snapshot
    return holding(token, now, policy, draw=draw) if policy.usable(token, now) else snapshot
