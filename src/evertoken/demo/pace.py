"""How long tokens live and workers call, chosen for the speed of this machine (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evertoken.core.policy import RefreshPolicy
from evertoken.core.token import Token

GRANTS_PER_WINDOW = 10
"""Grants for which a renewal has time, if the lifetime is not given."""

SHORTEST_LIFETIME = 6
"""Seconds. In a shorter life, scheduling delays would matter as much as the grant."""

LONGEST_LIFETIME = 30
"""Seconds, so that a slow machine still sees two renewals within a minute."""

LONGEST_RUN = 60.0
"""Seconds that the workers call at most, unless `--seconds` says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The times of one run, in seconds.

    Attributes:
        expires_in: lifetime of a token.
        seconds: for how long the workers call.
        grant: what a grant cost this machine before the run; None: not measured.
    """

    expires_in: int
    seconds: float
    grant: float | None = None

    @property
    def window(self) -> float:
        """From when a renewal is due, at the latest, until the token expires."""
        return RefreshPolicy().window(_token(self.expires_in))

    @property
    def time_to_renew(self) -> float:
        """From when a renewal is due, at the latest, until calls would have to wait for it."""
        return self.window - RefreshPolicy().margin(_token(self.expires_in))

    def reason(self) -> str:
        """What was chosen, and why, for the user."""
        tokens = f"tokens of {self.expires_in} s"
        if self.grant is None:
            return f"{tokens}, as asked; calling for {self.seconds:.0f} s"
        room = f"room for {self.window / self.grant:.0f} in the last quarter"
        return (
            f"a grant takes this machine {self.grant:.2g} s: {tokens}, {room}; "
            f"calling for {self.seconds:.0f} s"
        )


def pace(*, expires_in: int | None, seconds: float | None, grant: float | None) -> Pace:
    """What was asked for; else a lifetime for a grant of that cost, and a run of two renewals."""
    lifetime = expires_in or lifetime_for(grant or 0.0)
    return Pace(
        expires_in=lifetime,
        seconds=run_of(lifetime) if seconds is None else seconds,
        grant=grant,
    )


def lifetime_for(grant: float) -> int:
    """Seconds that a token should live where a grant takes `grant` seconds."""
    # the window is a quarter of any lifetime up to eight minutes
    ideal = math.ceil(GRANTS_PER_WINDOW * grant * 4)
    return min(LONGEST_LIFETIME, max(SHORTEST_LIFETIME, ideal))


def run_of(expires_in: float) -> float:
    """Seconds of a run that sees two renewals, and half a life after them."""
    token = _token(expires_in)
    in_use = token.lifetime - RefreshPolicy().window(token)
    return min(LONGEST_RUN, 2.5 * in_use)


def lifetimes(seconds: float, expires_in: float) -> int:
    """Tokens that a single process may need in `seconds`, renewing each as early as it may."""
    in_use = RefreshPolicy().due_at(_token(expires_in), jitter_fraction=1.0).wall
    return max(1, math.ceil(seconds / in_use))


def _token(lifetime: float) -> Token:
    return Token(value="", issued_at=0.0, expires_at=lifetime)
