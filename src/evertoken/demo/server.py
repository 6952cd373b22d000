"""The API that the workers call: a sandbox paced for this machine, or a real account."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import requests

from evertoken import TokenError, squadrun
from evertoken.demo.pace import pace
from evertoken.demo.plan import Gone, Unready
from evertoken.demo.report import Counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.demo.display import Show
    from evertoken.demo.pace import Pace
    from evertoken.demo.plan import Plan
    from evertoken.ports import Grant
    from evertoken.sandbox import Sandbox

TRIALS = 3
"""Grants that are timed. Their median is used, since the first one also warms the server up."""

TEN_HOURS = 36_000
"""Seconds that a SquadRun token lives by default, and what the trial sandbox's tokens live."""


@dataclass(frozen=True, slots=True)
class Server:
    """An API, the times of the run, and the sandbox behind it; a real account has none."""

    base_url: str
    pace: Pace
    sandbox: Sandbox | None = None

    def counts(self) -> Counts | None:
        """What it has counted so far; None: a real account.

        Raises:
            Gone: the sandbox does not answer.
        """
        if self.sandbox is None:
            return None
        try:
            stats = self.sandbox.stats()
        except requests.RequestException:
            fault = f"the sandbox at {self.base_url} does not answer any more: run the demo again"
            raise Gone(fault) from None
        return Counts(
            grants=sum(stats.grants.values()),
            longest_grant=stats.longest_grant,
            unauthorized=stats.api_calls.get(HTTPStatus.UNAUTHORIZED, 0),
            expired=stats.expired_tokens,
            stored=stats.leads,
        )


@contextlib.contextmanager
def opened(plan: Plan, show: Show) -> Iterator[Server]:
    """The server that `plan` asks for; a sandbox ends with the block.

    Raises:
        Unready: the sandbox cannot start, or a real account's credentials are not set.
        ValueError: a sandbox's tokens cannot live that long.
    """
    if plan.base_url is not None:
        _require_variables()
        times = pace(expires_in=plan.expires_in or TEN_HOURS, seconds=plan.seconds, grant=None)
        yield Server(plan.base_url.rstrip("/"), times)
        return
    _require_sandbox(plan)
    times = pace(
        expires_in=plan.expires_in,
        seconds=plan.seconds,
        grant=_measured(plan, show) if plan.expires_in is None else None,
    )
    show.phase("starting a local SquadRun")
    with _sandbox(plan, times.expires_in) as sandbox:
        show.note(times.reason())
        yield Server(sandbox.base_url, times, sandbox)


def _measured(plan: Plan, show: Show) -> float:
    """Seconds that a grant takes on this machine, from a sandbox of its own.

    A sandbox's lifetime is fixed when it starts, and its counts should be those of the run alone.
    """
    show.phase("starting a local SquadRun to time its grants")
    with _sandbox(plan, TEN_HOURS):
        show.phase("timing three grants, to choose the lifetime of the tokens")
        grant = squadrun.manager().grant
        return statistics.median(_seconds_of(grant) for _ in range(TRIALS))


def _seconds_of(grant: Grant) -> float:
    start = time.perf_counter()
    # a machine so slow that the grant times out is named at the end
    with contextlib.suppress(TokenError):
        grant.request()
    return time.perf_counter() - start


@contextlib.contextmanager
def _sandbox(plan: Plan, expires_in: int) -> Iterator[Sandbox]:
    from evertoken.sandbox import SandboxError, serve  # noqa: PLC0415  a real account needs none

    with contextlib.ExitStack() as stack:
        try:
            sandbox = stack.enter_context(
                serve(expires_in=expires_in, fast_hashing=plan.fast_hashing)
            )
        except SandboxError as error:
            raise Unready(str(error)) from None
        # The workers inherit it. The sandbox's account is no secret. A proxy named by the
        # environment must not stand between two processes of one machine.
        os.environ.update(sandbox.environment, no_proxy="127.0.0.1")
        yield sandbox


def _require_sandbox(plan: Plan) -> None:
    """Complain before anything is shown, since a usage error should stand alone."""
    from evertoken.sandbox import Options, SandboxError  # noqa: PLC0415  a real account needs none
    from evertoken.sandbox.errors import require_extra  # noqa: PLC0415  likewise

    Options(expires_in=plan.expires_in or TEN_HOURS)
    try:
        require_extra()
    except SandboxError as error:
        raise Unready(str(error)) from None


def _require_variables() -> None:
    names = ("CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD")
    missing = [f"SQUADRUN_{name}" for name in names if not os.environ.get(f"SQUADRUN_{name}")]
    if missing:
        raise Unready(f"a real account needs its credentials: set {', '.join(missing)}")
