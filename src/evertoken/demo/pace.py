"""Chooses the token lifetime and the length of a run for the speed of this machine (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evertoken.core.policy import RefreshPolicy
from evertoken.core.token import Token

GRANTS_PER_WINDOW = 10
"""How many grants fit into the time for a renewal, if the lifetime is not given."""

SHORTEST_LIFETIME = 6
"""Seconds. In a shorter lifetime, scheduling delays would matter as much as the grant."""

LONGEST_LIFETIME = 30
"""Seconds, so that a slow machine still sees two renewals within a minute."""

LONGEST_RUN = 60.0
"""Seconds that the workers call at most, unless `--seconds` is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The times of one run, in seconds.

    Attributes:
        expires_in: lifetime of a token.
        seconds: how long the workers call.
        grant: how long a grant took before the run; None: not measured.
    """

    expires_in: int
    seconds: float
    grant: float | None = None

    @property
    def window(self) -> float:
        """Seconds from the latest time at which a renewal is due until the token expires."""
        return RefreshPolicy().window(_token(self.expires_in))

    @property
    def time_to_renew(self) -> float:
        """Seconds from the latest time at which a renewal is due until calls must wait for it."""
        return self.window - RefreshPolicy().margin(_token(self.expires_in))

    def reason(self) -> str:
        """The chosen times and the reason, for the user."""
        tokens = f"tokens of {self.expires_in} s"
        if self.grant is None:
            return f"{tokens}, as asked; calling for {self.seconds:.0f} s"
        room = f"room for {self.window / self.grant:.0f} in the last quarter"
        return (
            f"a grant takes this machine {self.grant:.2g} s: {tokens}, {room}; "
            f"calling for {self.seconds:.0f} s"
        )


def pace(*, expires_in: int | None, seconds: float | None, grant: float | None) -> Pace:
    """The given times; by default a lifetime that suits `grant`, and a run of two renewals."""
    lifetime = expires_in or lifetime_for(grant or 0.0)
    return Pace(
        expires_in=lifetime,
        seconds=run_of(lifetime) if seconds is None else seconds,
        grant=grant,
    )


def lifetime_for(grant: float) -> int:
    """Seconds that a token should live if a grant takes `grant` seconds."""
    # the window is a quarter of any lifetime up to eight minutes
    ideal = math.ceil(GRANTS_PER_WINDOW * grant * 4)
    return min(LONGEST_LIFETIME, max(SHORTEST_LIFETIME, ideal))


def run_of(expires_in: float) -> float:
    """Seconds of a run with two renewals and half a lifetime after them."""
    token = _token(expires_in)
    in_use = token.lifetime - RefreshPolicy().window(token)
    return min(LONGEST_RUN, 2.5 * in_use)


def lifetimes(seconds: float, expires_in: float) -> int:
    """The most tokens a single process needs in `seconds`, renewing each as early as possible."""
    in_use = RefreshPolicy().due_at(_token(expires_in), jitter_fraction=1.0).wall
    return max(1, math.ceil(seconds / in_use))


def _token(lifetime: float) -> Token:
    return Token(value="", issued_at=0.0, expires_at=lifetime)
