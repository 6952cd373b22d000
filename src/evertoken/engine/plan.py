"""Makes the core's `Plan` from a manager's grant, stores and options."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from evertoken.core.effects import Plan
from evertoken.runtime import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evertoken.core.policy import RefreshPolicy
    from evertoken.ports import Grant, TokenStore

REQUEST_SLACK = 1.0
"""Seconds after a grant's own deadline. A later answer means that the process was suspended."""

LONGEST_STEP = 30.0
"""Seconds after which a step of a renewal is assumed to hang if the grant has no deadline."""


def plan_of(
    grant: Grant, stores: Sequence[TokenStore], policy: RefreshPolicy, timeout: float
) -> Plan:
    """The plan of a manager with these parts; `timeout` is the one of its callers, in seconds."""
    longest: object = getattr(grant, "deadline", None)
    # a grant without a deadline cannot be late
    seconds = longest if isinstance(longest, float | int) else math.inf
    return Plan(
        stores=len(stores),
        policy=policy,
        # leaves a caller time for its own request if the holder is stuck
        lock_timeout=timeout / 2,
        deadline=seconds + REQUEST_SLACK,
        jitter_fraction=process.jitter_fraction(),
        exclusive=is_exclusive(grant),
        fallback=getattr(grant, "fallback", None) is not None,
    )


def is_exclusive(grant: Grant) -> bool:
    """Whether `grant` spends a rotating refresh token, which only one process may do at a time."""
    return getattr(grant, "exclusive", False) is True


def longest_step(plan: Plan) -> float:
    """Seconds after which a step is assumed to hang, and the renewal is abandoned."""
    if plan.exclusive:
        # The stuck request may have spent the login; a second one would spend it twice.
        return math.inf
    return plan.deadline if math.isfinite(plan.deadline) else LONGEST_STEP
