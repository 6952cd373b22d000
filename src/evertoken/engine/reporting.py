"""The log records, events and counters of a manager. Changes no state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.engine.naming import describe
from evertoken.ports import name_of
from evertoken.runtime import reports
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evertoken import events, status
    from evertoken.core.effects import Result
    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token
    from evertoken.events import Event
    from evertoken.ports import TokenStore
    from evertoken.status import Counters
else:
    # not needed by a process that finds a token in its store and has no listener
    events, status = lazy("evertoken.events"), lazy("evertoken.status")

GRANT = "grant"
"""The `source` of an event whose token came from the token endpoint."""


def counted(counters: Counters, result: Result) -> Counters:
    """`counters` after a renewal."""
    if result.token is not None:
        return counters.plus(grants=result.asked, adoptions=not result.asked)
    return counters.plus(failures=result.asked and result.failure is not None)


def report_result(
    result: Result,
    before: Snapshot,
    after: Snapshot,
    now: Instant,
    *,
    stores: Sequence[TokenStore],
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report the result of a renewal; `before` and `after` are the snapshots around it."""
    if result.failure is not None:
        report_failure(result.failure, before, after, now, on_event=on_event)
    if result.token is not None and after.token is not before.token:
        source = GRANT if result.store is None else name_of(stores[result.store])
        report_token(result.token, source, result.seconds, after, on_event=on_event)


def report_token(
    token: Token,
    source: str,
    seconds: float,
    snapshot: Snapshot,
    *,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report a token that is used from now on."""
    whose = "" if snapshot.key is None else describe(snapshot.key)
    text = "%s: token from %s in %.3f s, expires %.0f s after its issue"
    reports.info(text, whose, source, seconds, token.lifetime)
    if on_event is not None:
        told = events.TokenRenewed(source, seconds, token.lifetime, token.expires_at)
        events.emit(on_event, told)


def report_rejection(
    snapshot: Snapshot,
    seconds: float,
    *,
    first: bool,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report that an API rejected two tokens within `seconds`, with the likely cause.

    The `first` report is logged at WARNING, later ones at DEBUG; the event is always emitted.
    """
    whose = "" if snapshot.key is None else describe(snapshot.key)
    reason = (
        f"{whose}: the API rejected two tokens within {seconds:.0f} s; until then no other one is "
        "requested. If other processes use this account, the server may allow one session per "
        "user: share a store (FileStore, RedisStore) between them. Otherwise the cause is not the "
        "token: check permissions, scope and audience."
    )
    (reports.warning if first else reports.debug)("%s", reason)
    if on_event is not None:
        events.emit(on_event, events.RejectedAgain(reason))


def report_failure(
    failure: Failure,
    before: Snapshot,
    after: Snapshot,
    now: Instant,
    *,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report a failure.

    The same failure is not reported again. A new failure with the same text is logged at DEBUG, and
    its event is emitted.
    """
    known = before.failure
    if failure.repeats(known):
        return
    same = known is not None and str(known.error) == str(failure.error)
    # its message names the account and the token URL
    say = reports.debug if same else reports.warning
    say("no new token: %s", failure.error)
    kind = events.TokenRefused if failure.refused else events.RenewalFailed
    events.emit(on_event, kind(failure.error, status.next_try(after, failure, now)))
