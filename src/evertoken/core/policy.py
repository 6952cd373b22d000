"""When a token is renewed and how long a failure lasts: arithmetic on immutable values."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from evertoken.core.failure_kind import FailureKind
from evertoken.core.instant import Instant

if TYPE_CHECKING:
    from evertoken.core.failure import Failure
    from evertoken.core.token import Token
    from evertoken.errors import TokenError

GRANT_FLOOR = 1.0
"""Seconds between two grants of one identity, except with `force`."""

LONGEST_RETRY_AFTER = 3600.0
"""Seconds. A longer `Retry-After` is cut to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """When to renew, and how long to wait after a failure. All values but `jitter` are in seconds.

    Attributes:
        refresh_before: renew this long before expiry, but at most a quarter of the lifetime.
        expiry_margin: send no token this close to its expiry, but at most a 20th of the lifetime.
        jitter: moves a renewal earlier by up to this share of its window, and shortens a back-off
            by up to the same share, so that processes that started together do not renew together.
            Cool-downs and `Retry-After` are not shortened.
        retry_after: the pause after the first failure; it doubles up to `retry_after_max`.
        refusal_cooldown: the pause after refused credentials; it doubles up to
            `refusal_cooldown_max`.
        recheck: how often a process polls the store for a token that a sibling changed.
        activation_delay: how long the old token is still sent after a new one has arrived, for an
            API that accepts a new token only seconds later. Ends when the old token expires, or at
            once if it is revoked, or rejected by the API. 0: the new token is sent at once.

    Raises:
        ValueError: a value is negative or infinite, or a maximum is below its starting value.
    """

    refresh_before: float = 120.0
    expiry_margin: float = 10.0
    jitter: float = 0.25
    retry_after: float = 1.0
    retry_after_max: float = 60.0
    refusal_cooldown: float = 300.0
    refusal_cooldown_max: float = 3600.0
    recheck: float = 1.0
    activation_delay: float = 0.0

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
        """When `token` stops being usable."""
        return _moment(token, token.lifetime - self.margin(token))

    def due_at(self, token: Token, *, jitter_fraction: float) -> Instant:
        """When `token` is renewed; `jitter_fraction` is this process's random number in [0, 1)."""
        window = self.window(token) * (1 + self.jitter * jitter_fraction)
        return _moment(token, token.lifetime - max(window, self.margin(token)))

    def overdue_at(self, token: Token, *, jitter_fraction: float) -> Instant:
        """When `token` is overdue: half a window before it stops being usable.

        From then on its renewal waits for a busy lock instead of trying again later.
        """
        window = self.window(token) / 2 * (1 + self.jitter * jitter_fraction)
        return _moment(token, token.lifetime - self.margin(token) - window)

    def usable(self, token: Token, now: Instant) -> bool:
        """Whether `token` may be sent: its times are plausible and it has not expired."""
        return token.plausible(now) and not self.usable_until(token).reached(now)

    def poll_pause(self, token: Token | None) -> float:
        """Seconds until the next try while another process renews `token`."""
        return self.recheck if token is None else min(self.recheck, self.window(token) / 4)

    def backoff(
        self, error: TokenError, *, kind: FailureKind, count: int, jitter_fraction: float
    ) -> float:
        """Seconds until the next request after `count` failures of one kind in a row."""
        # 2.0 ** 1024 overflows; every pause reaches its maximum long before
        doublings = 2.0 ** min(count - 1, 64)
        if kind is FailureKind.REFUSED:
            pause = min(self.refusal_cooldown_max, self.refusal_cooldown * doublings)
        else:
            pause = min(self.retry_after_max, self.retry_after * doublings)
            if kind is FailureKind.LOCAL and not error.transient:
                # An untrusted certificate, or a proxy that requires a login: retrying soon cannot
                # help.
                pause = self.retry_after_max
            pause *= 1 - self.jitter * jitter_fraction
        asked = 0.0 if error.retry_after is None else min(error.retry_after, LONGEST_RETRY_AFTER)
        return max(pause, asked)

    def in_force(self, failure: Failure, token: Token | None, now: Instant) -> bool:
        """Whether `failure` still forbids a request; `token` is the newest one known.

        An outage or a local failure that began while a token was usable ends with that token. A
        refusal does not.
        """
        if not failure.remaining(now):
            return False
        if failure.refused or token is None or self.usable(token, now):
            return True
        boot_estimate = now.boot - (now.wall - failure.at)
        boot = boot_estimate if failure.at_boot is None else failure.at_boot
        return not self.usable(token, Instant(failure.at, boot))


def _moment(token: Token, age: float) -> Instant:
    boot = math.inf if token.issued_boot is None else token.issued_boot + age
    return Instant(token.issued_at + age, boot)
