"""How a manager renews: what its grant, its stores and its options mean for the core."""

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
"""Seconds beyond a grant's own deadline after which its answer is late: its process was frozen."""

LONGEST_STEP = 30.0
"""Seconds after which a step of a renewal is taken to hang, where the grant has no deadline."""


def plan_of(
    grant: Grant, stores: Sequence[TokenStore], policy: RefreshPolicy, timeout: float
) -> Plan:
    """How a manager with these parts renews; `timeout` in seconds, as its callers wait."""
    longest: object = getattr(grant, "deadline", None)
    # a grant that does not bound its requests cannot be late
    seconds = longest if isinstance(longest, float | int) else math.inf
    return Plan(
        stores=len(stores),
        policy=policy,
        # a stuck holder leaves a caller time for a request
        lock_timeout=timeout / 2,
        deadline=seconds + REQUEST_SLACK,
        jitter_fraction=process.jitter_fraction(),
        exclusive=getattr(grant, "exclusive", False) is True,
    )


def longest_step(plan: Plan) -> float:
    """Seconds after which a step of a renewal is taken to hang, and the renewal is abandoned."""
    if plan.exclusive:
        # its request may have spent the login: another one would spend it twice
        return math.inf
    return plan.deadline if math.isfinite(plan.deadline) else LONGEST_STEP
