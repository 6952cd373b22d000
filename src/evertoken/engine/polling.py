"""Polls the stores and merges what siblings saved there into the snapshot."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from evertoken.core import state
from evertoken.core.entry import NOTHING, adds
from evertoken.ports import name_of, trouble_of
from evertoken.runtime import process
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from evertoken.core.entry import Entry
    from evertoken.core.instant import Instant
    from evertoken.core.state import Snapshot
    from evertoken.core.token import TokenKey
    from evertoken.engine import reporting
    from evertoken.engine.renewer import Renewer
    from evertoken.ports import TokenStore
    from evertoken.runtime import pool
    from evertoken.runtime.waiters import Flow
else:
    # not needed by a poll that finds nothing new
    reporting, pool = lazy("evertoken.engine.reporting"), lazy("evertoken.runtime.pool")

SAVE_AGAIN = 5.0
"""Seconds between two tries to save an entry that a failing store did not save."""


def poll(renewer: Renewer, now: Instant) -> Flow[Snapshot]:
    """Poll the stores, at most once per `recheck`, and return the snapshot.

    A remote store has its own `recheck` and is polled in the pool; the call waits for it at most 20
    ms.
    """
    if now.boot - renewer.polled_at < renewer.policy.recheck:
        return renewer.snapshot
    return (yield from _poll(renewer, now, urgent=False))


def poll_now(renewer: Renewer, now: Instant) -> Flow[Snapshot]:
    """Like `poll`, but always polls, and waits up to 1 s for each remote store."""
    return (yield from _poll(renewer, now, urgent=True))


def _poll(renewer: Renewer, now: Instant, *, urgent: bool) -> Flow[Snapshot]:
    # set before the identity is read, so that a failing callable is not called each time
    renewer.polled_at = now.boot
    key = renewer.known_identity()
    if key is None:
        # a renewal reports the reason
        return renewer.snapshot
    merge = functools.partial(_merge, renewer, key)
    for store in renewer.near:
        merge(store, store.load(key), now)
    for watcher in renewer.watchers:
        yield from watcher.poll(key, now, merge, urgent=urgent)
    renewer.report_health()
    return renewer.snapshot


def _merge(
    renewer: Renewer, key: TokenKey, store: TokenStore, found: Entry | None, now: Instant
) -> None:
    may_adopt = _may_adopt(renewer, key, found, now)
    with process.lock():
        before = renewer.snapshot
        if before.key != key:
            return  # a renewal has switched to another identity meanwhile
        renewer.snapshot = after = state.merge_shared(
            before,
            found,
            now,
            renewer.policy,
            jitter_fraction=process.jitter_fraction(),
            may_adopt=may_adopt,
        )
        renewer.adoptions += after.token is not None and after.token is not before.token
        if after.failure is not None and after.failure is not before.failure:
            renewer.count_adopted_failure()
    if after is not before:
        _report(renewer, before, after, name_of(store), now)
    _repair(renewer, key, store, found, after.entry, now)


def _may_adopt(renewer: Renewer, key: TokenKey, found: Entry | None, now: Instant) -> bool:
    token = None if found is None else found.token
    if token is None or token == renewer.snapshot.token or not renewer.policy.usable(token, now):
        return False
    return renewer.claim.admit_unread(key)


def _repair(  # noqa: PLR0917  everything that `_merge` knows
    renewer: Renewer,
    key: TokenKey,
    store: TokenStore,
    found: Entry | None,
    known: Entry,
    now: Instant,
) -> None:
    """Have the pool save what the store has lost (a flush, an old backup) or failed to save."""
    held = found or NOTHING
    if store is renewer.stores[0] or known == held or renewer.in_flight is not None:
        return
    if not adds(known, held):
        return
    if trouble_of(store, key) is not None:
        # Only a save can show that a full disk has room again. If this manager has had no failed
        # save, the trouble is of another kind, such as entries sealed with another key.
        if now.boot < renewer.save_again_at:
            return
        renewer.save_again_at = now.boot + SAVE_AGAIN
    pool.do_soon(functools.partial(_save, renewer, store, key, known), renewer.resource)


def _save(renewer: Renewer, store: TokenStore, key: TokenKey, known: Entry) -> None:
    if store.save(key, known) is None:
        renewer.note_unsaved()
    else:
        renewer.save_again_at = math.inf


def _report(renewer: Renewer, before: Snapshot, after: Snapshot, store: str, now: Instant) -> None:
    token, failure = after.token, after.failure
    whose, on_event = renewer.whose, renewer.on_event
    if token is not None and token is not before.token:
        reporting.report_token(token, store, 0.0, whose=whose, on_event=on_event)
    if failure is not None:
        source = reporting.STORE
        reporting.report_failure(
            failure, source, before, after, now, whose=whose, on_event=on_event
        )
