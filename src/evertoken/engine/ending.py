"""Ends a token before it expires: `invalidate` and `revoke`."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core import protocol, state
from evertoken.core.entry import NOTHING, Entry, join
from evertoken.core.state import EMPTY
from evertoken.engine.driver import Driver
from evertoken.errors import TokenError, capture
from evertoken.runtime import clock, process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evertoken.core.outcome import Result
    from evertoken.core.token import Token, TokenKey
    from evertoken.engine.renewer import Renewer


def invalidate(renewer: Renewer, token: Token) -> None:
    """Drop `token` here and in the stores; a newer token stays."""
    key = renewer.identity()
    known = functools.reduce(join, (store.load(key) or NOTHING for store in renewer.stores))
    with process.lock():
        before = renewer.snapshot if renewer.snapshot.key == key else replace(EMPTY, key=key)
        after = state.invalidated(before, token.value, known)
        # a renewal may have switched to another identity meanwhile
        if renewer.snapshot.key == key:
            renewer.snapshot = after
    if after is not before:
        # only the tombstone: siblings need nothing else that this manager knows
        _save(renewer, key, Entry.of_revocation(after.entry.revoked_through))


def revoke(renewer: Renewer) -> tuple[Sequence[Token], TokenError | None]:
    """Revoke the tokens of this manager's credentials. Returns them and the first error."""
    now = clock.now()
    key = capture(renewer.identity)
    known = None if isinstance(key, TokenError) else key
    performer = Driver(
        renewer.claim,
        renewer.stores,
        now,
        _ignore,
        on_unsaved=renewer.note_unsaved,
        known=known,
        account=renewer.whose["account"],
    )
    snapshot = renewer.snapshot
    outcome = performer.run(protocol.revocation(renewer.plan(), snapshot))
    whose = performer.identity or snapshot.key
    with process.lock():
        # a renewal may have switched to another identity meanwhile, whose token is still valid
        if renewer.snapshot.key in {None, whose}:
            renewer.snapshot = state.revoked(renewer.snapshot, outcome.entry)
    if whose is not None and outcome.tokens:
        _save(renewer, whose, outcome.entry)
    return outcome.tokens, outcome.error


def forget_failures(renewer: Renewer) -> None:
    """Drop what this manager waits for, here and in the stores, so that its next call renews.

    For a test whose server has recovered: a user would wait.
    """
    now, key = clock.now(), renewer.snapshot.key
    stored = [] if key is None else [store.load(key) or NOTHING for store in renewer.stores]
    known = functools.reduce(join, stored, renewer.snapshot.entry)
    over = state.over(known, now)
    fraction = process.jitter_fraction()
    with process.lock():
        informed = state.informed_by(renewer.snapshot, over, now)
        renewer.snapshot = state.without_failure(informed, renewer.policy, jitter_fraction=fraction)
    if key is not None and over is not NOTHING:
        _save(renewer, key, over)


def _save(renewer: Renewer, key: TokenKey, known: Entry) -> None:
    for store in reversed(renewer.stores):
        if store.save(key, known) is None:
            renewer.note_unsaved()


def _ignore(_result: Result) -> None:
    """A revocation publishes no early result."""
