"""The API that the workers call: a sandbox suited to this machine, or a real account."""

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
"""The number of grants that are timed. The median is used: the first one warms the server up."""

TEN_HOURS = 36_000
"""The lifetime of a SquadRun token by default, and of the trial sandbox's, in seconds."""


@dataclass(frozen=True, slots=True)
class Server:
    """An API, the times of the run, and its sandbox; None for a real account."""

    base_url: str
    pace: Pace
    sandbox: Sandbox | None = None

    def counts(self) -> Counts | None:
        """The server's counts so far; None for a real account.

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
    """The server for `plan`; a sandbox ends with the block.

    Raises:
        Unready: the sandbox cannot start, or a real account's credentials are not set.
        ValueError: the lifetime is too long for a sandbox.
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
    """Seconds that a grant takes on this machine, measured in a separate sandbox.

    The lifetime must be chosen before the real sandbox starts, and its counts must be only those of
    the run.
    """
    show.phase("starting a local SquadRun to time its grants")
    with _sandbox(plan, TEN_HOURS):
        show.phase("timing three grants, to choose the lifetime of the tokens")
        grant = squadrun.manager().grant
        return statistics.median(_seconds_of(grant) for _ in range(TRIALS))


def _seconds_of(grant: Grant) -> float:
    start = time.perf_counter()
    # if the machine is so slow that the grant times out, the report says so
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
        # The workers inherit this environment. The sandbox's account is not a secret. No proxy may
        # be used between processes of one machine.
        os.environ.update(sandbox.environment, no_proxy="127.0.0.1")
        yield sandbox


def _require_sandbox(plan: Plan) -> None:
    """Raise usage errors before anything is shown."""
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
