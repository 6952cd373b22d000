"""Turns an exception in a renewal into a local failure, so that its callers do not loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.core.failure import Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.outcome import Result, Source
from evertoken.engine.naming import named
from evertoken.errors import GrantUnavailable
from evertoken.runtime import clock

if TYPE_CHECKING:
    from evertoken.core.effects import Plan, RenewalRequest
    from evertoken.engine.naming import Whose


def crashed(error: BaseException, request: RenewalRequest, plan: Plan, whose: Whose) -> Result:
    """The result of a renewal in which a store or a grant raised an unexpected exception.

    The error names only its type: the text may quote a secret.
    """
    now = clock.elapsed(request.start)
    before = request.snapshot.failure
    count = 1 if before is None or before.kind is not FailureKind.LOCAL else before.count + 1
    reported = named(
        GrantUnavailable(
            f"the renewal failed: {type(error).__name__} was raised", transient=True, local=True
        ),
        account=whose["account"],
        token_url=whose["token_url"],
    )
    pause = plan.policy.backoff(
        reported, kind=FailureKind.LOCAL, count=count, jitter_fraction=plan.jitter_fraction
    )
    failure = Failure(
        kind=FailureKind.LOCAL,
        at=now.wall,
        until=now.wall + pause,
        error=reported,
        count=count,
        at_boot=now.boot,
    )
    return Result(source=Source.GRANT, failure=failure, seconds=now.boot - request.start.boot)
