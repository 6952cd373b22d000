"""The log records, events and counters of a manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.engine.naming import phrase
from evertoken.lru import LRU
from evertoken.ports import name_of
from evertoken.runtime import process, reports
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evertoken import events, status
    from evertoken.core import failure as failures
    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.login import Login
    from evertoken.core.outcome import Result
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token
    from evertoken.engine.naming import Whose
    from evertoken.events import Event
    from evertoken.ports import TokenStore
    from evertoken.status import Counters
else:
    # not needed by a process that finds a token in its store and has no listener
    events, status = lazy("evertoken.events"), lazy("evertoken.status")
    failures = lazy("evertoken.core.failure")

GRANT = "grant"
"""The `source` of an event about the manager's own renewal."""

STORE = "store"
"""The `source` of a failure adopted from any store: a poll may have found it first."""


MOST_CAUSES = 16
"""Warnings remembered per account: a server may word each of its answers differently."""


def _no_warnings() -> LRU[frozenset[str]]:
    return LRU(1024)


_warned = process.PerProcess(_no_warnings)
"""The warnings of this process since the last token, by account.

A process may have a manager per thread. If all of them have the same wrong password, it is logged
once.
"""


WARN_AHEAD = 3 * 24 * 3600.0
"""Seconds before the end of a login at which it is reported: a weekend."""

SAME_END = 60.0
"""Seconds by which two ends of a login may differ and be the same: servers tell what is left."""


def _ends() -> LRU[float]:
    return LRU(1024)


_ends_told = process.PerProcess(_ends)
"""The end of a login that this process has reported last, by account."""


def counted(counters: Counters, result: Result, before: Snapshot) -> Counters:
    """`counters` after a renewal; `before` is the snapshot that it found."""
    if result.token is not None:
        return counters.plus(grants=result.asked, adoptions=not result.asked)
    if result.failure is None:
        return counters
    if result.asked:
        return counters.plus(failures=1)
    return counters.plus(adopted_failures=not result.failure.repeats(before.failure))


def report_result(
    result: Result,
    before: Snapshot,
    after: Snapshot,
    now: Instant,
    *,
    stores: Sequence[TokenStore],
    whose: Whose,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report the result of a renewal; `before` and `after` are the snapshots around it."""
    if result.failure is not None:
        source = GRANT if result.asked else STORE
        report_failure(result.failure, source, before, after, now, whose=whose, on_event=on_event)
    if (login := after.entry.login) is not None:
        report_login_end(login, before.entry.login, now, whose=whose, on_event=on_event)
    if result.token is not None and after.token is not before.token:
        source = GRANT if result.store is None else name_of(stores[result.store])
        report_token(result.token, source, result.seconds, whose=whose, on_event=on_event)


def report_login_end(
    login: Login,
    before: Login | None,
    now: Instant,
    *,
    whose: Whose,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report that `login` ends soon, once, if the renewal after `before` has not prolonged it."""
    ends, known = login.expires_at, None if before is None else before.expires_at
    if ends is None or known is None or login.refresh_token is None:
        return
    account, _ = _accounts(whose)
    told = _ends_told().get(account)
    if ends > known + SAME_END or ends - now.wall > WARN_AHEAD:
        return
    if told is not None and abs(ends - told) <= SAME_END:
        return
    _ends_told().put(account, ends)
    left = max(0.0, ends - now.wall)
    text = "%s: the refresh token expires in %.1f h, and renewals do not prolong it: log in again"
    reports.warning(text, phrase(whose), left / 3600)
    if on_event is not None:
        events.emit(on_event, events.LoginEnding(ends, **whose))


def report_token(
    token: Token,
    source: str,
    seconds: float,
    *,
    whose: Whose,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report a token that is used from now on."""
    # from now on a failure is news again
    for account in _accounts(whose):
        _warned().pop(account)
    text = "%s: token from %s in %.3f s, expires %.0f s after its issue"
    reports.info(text, phrase(whose), source, seconds, token.lifetime)
    if on_event is not None:
        event = events.TokenRenewed(source, seconds, token.lifetime, token.expires_at, **whose)
        events.emit(on_event, event)


def report_rejection(
    seconds: float,
    *,
    first: bool,
    whose: Whose,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report that an API rejected two tokens within `seconds`, with the likely cause.

    The `first` report is logged at WARNING, later ones at DEBUG; the event is always emitted.
    """
    reason = (
        f"{phrase(whose)}: the API rejected two tokens within {seconds:.0f} s; until then no other "
        "one is requested. If other processes use this account, the server may allow one session "
        "per user: share a store (FileStore, RedisStore) between them. Otherwise the cause is not "
        "the token: check permissions, scope and audience."
    )
    (reports.warning if first else reports.debug)("%s", reason)
    if on_event is not None:
        events.emit(on_event, events.RejectedAgain(reason, **whose))


def report_failure(
    failure: Failure,
    source: str,
    before: Snapshot,
    after: Snapshot,
    now: Instant,
    *,
    whose: Whose,
    on_event: Callable[[Event], None] | None,
) -> None:
    """Report a failure of a renewal, or one that was adopted, as `source` says.

    The same failure is not reported again. A failure whose text this process has logged at WARNING
    since the account's last token is logged at DEBUG, and its event is emitted.
    """
    if failure.repeats(before.failure):
        return
    error = failure.error if source == GRANT else failures.remembered(failure)
    say = reports.warning if _is_news(failure, before.failure, whose) else reports.debug
    # its message names the account and the token URL
    say("no new token: %s", error)
    kind = events.TokenRefused if failure.refused else events.RenewalFailed
    if on_event is not None:
        until = status.next_try(after, failure, now)
        events.emit(on_event, kind(error, until, source, **whose))


def _is_news(failure: Failure, last: Failure | None, whose: Whose) -> bool:
    """Whether neither this manager's last failure nor one that was warned of has the same text."""
    text = str(failure.error)
    if last is not None and str(last.error) == text:
        return False
    account, _ = _accounts(whose)
    known = _warned().get(account) or frozenset()
    if text in known:
        return False
    _warned().put(account, (known if len(known) < MOST_CAUSES else frozenset()) | {text})
    return True


def _accounts(whose: Whose) -> tuple[str, str]:
    """What `_warned` calls the account, and an account that could not be read at its URL."""
    unread = f" at {whose['token_url']}"
    return f"{whose['account'] or ''}{unread}", unread
