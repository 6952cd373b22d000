"""The calls that return a token, as flows that a thread or an asynchronous task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.core.state import Action, activated, decide
from evertoken.engine import polling
from evertoken.runtime import clock
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core import effects, failure, outcome
    from evertoken.core.instant import Instant
    from evertoken.core.outcome import Result
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token, TokenKey
    from evertoken.engine.renewer import Renewer
    from evertoken.errors import TokenError
    from evertoken.runtime.waiters import Flow
else:
    # not needed by a process that finds a token in its store
    effects, failure, outcome = (
        lazy(f"evertoken.core.{name}") for name in ("effects", "failure", "outcome")
    )

REPLACEMENT_PERIOD = 60.0
"""Seconds per identity and process in which the 401s of an API cause at most one grant."""


def obtain(renewer: Renewer, came: Instant, timeout: float) -> Flow[Snapshot]:
    """A snapshot with a usable token; waits only if there is none.

    Args:
        renewer: holds the snapshot.
        came: when the call was made.
        timeout: seconds from `came` on.

    Raises:
        TokenError: as `TokenManager.token` says.
    """
    now = came
    while True:
        snapshot = renewer.activated((yield from polling.poll(renewer, now)), now)
        action = decide(snapshot, now)
        if action is Action.USE:
            return renewer.with_fast_path(snapshot, now)
        if action is Action.FAIL:
            raise _remembered(snapshot)
        renewal = renewer.start(effects.RenewalRequest(snapshot=snapshot, start=now))
        if action is Action.REFRESH_IF_FREE:
            return snapshot
        published = yield from renewal.waiting(until=came.boot + timeout)
        now = clock.now()
        if published is None:
            continue
        result, snapshot = published
        if outcome.token_for_waiter(snapshot, result, now, waiting_since=came) is not None:
            return activated(snapshot, now)
        if not result.late(now):
            _raise(_error_of(result))


def refresh(renewer: Renewer, came: Instant, timeout: float) -> Flow[Token]:
    """A token of a grant that ended after `came`, despite any back-off or refusal.

    Raises:
        TokenError: as `TokenManager.token` says.
    """
    while True:
        request = effects.RenewalRequest(snapshot=renewer.snapshot, start=came, force=True)
        published = yield from renewer.start(request).waiting(until=came.boot + timeout)
        now = clock.now()
        if published is None:
            continue
        result, snapshot = published
        # a renewal that was already running may only have returned a remembered failure
        if result.asked and not result.late(now):
            _raise(_error_of(result))
        token = outcome.token_for_waiter(snapshot, result, now, waiting_since=came)
        if token is not None and (result.asked or token.issued_since(came)):
            return token


def replace(
    renewer: Renewer,
    rejected: str,
    came: Instant,
    timeout: float,
    may_replace: Callable[[TokenKey], bool],
) -> Flow[str | None]:
    """The header to send after an API rejected `rejected`; None if no other one is available.

    Args:
        renewer: holds the snapshot.
        rejected: the header that was sent.
        came: when the call was made.
        timeout: seconds from `came` on.
        may_replace: whether a grant may be forced for this identity.

    Raises:
        TokenError: as `TokenManager.token` says.
    """
    found = yield from polling.poll_now(renewer, came)
    if found.header != rejected:
        header = (yield from obtain(renewer, came, timeout)).header
    else:
        header = yield from _replaced(renewer, rejected, came, timeout, may_replace)
    return header if header not in {"", rejected} else None


def _replaced(
    renewer: Renewer,
    rejected: str,
    came: Instant,
    timeout: float,
    may_replace: Callable[[TokenKey], bool],
) -> Flow[str]:
    """The header after a renewal; `rejected` itself, or empty, if that brought none."""
    while renewal := renewer.replace_rejected(rejected, came, may_replace):
        published = yield from renewal.waiting(until=came.boot + timeout)
        if published is None:
            now = clock.now()
            left = max(0.0, came.boot + timeout - now.boot)
            return (yield from obtain(renewer, now, left)).header
        _raise(_error_of(published.result))
        # one in the background that found another process busy has replaced nothing: ask again
        if not published.result.blocked:
            return published.snapshot.header
    header = renewer.snapshot.header
    if header == rejected:
        renewer.report_rejection(came, REPLACEMENT_PERIOD)
    return header


def _remembered(snapshot: Snapshot) -> TokenError:
    waited_out = snapshot.failure
    assert waited_out is not None  # noqa: S101  FAIL implies a failure
    return failure.remembered(waited_out)


def _error_of(result: Result) -> TokenError | None:
    """The error for a caller that waited for `result`."""
    if result.error is None or result.failure is None:
        return None
    return result.error if result.asked else failure.remembered(result.failure)


def _raise(error: TokenError | None) -> None:
    if error is not None:
        raise error.again()
