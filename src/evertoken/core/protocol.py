"""The entry point for a driver: chooses the generator to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.core.exclusive import ExclusiveRenewal
from evertoken.core.renewal import Renewal
from evertoken.core.revocation import revocation

if TYPE_CHECKING:
    from evertoken.core.effects import Plan, RenewalRequest, Steps
    from evertoken.core.outcome import Result

__all__ = ["renewal", "revocation"]


def renewal(plan: Plan, request: RenewalRequest) -> Steps[Result]:
    """One renewal; raises nothing of its own."""
    kind = ExclusiveRenewal if plan.exclusive else Renewal
    return kind(plan, request).steps()
