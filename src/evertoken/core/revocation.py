"""One revocation across threads, processes and machines, as a generator of effects."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from evertoken.core.effects import (
    Load,
    Lock,
    MayAdopt,
    OrderingTime,
    ReadCredentials,
    Reading,
    Revoke,
    Save,
)
from evertoken.core.entry import (
    NOTHING,
    NOTHING_REVOKED,
    Entry,
    demoted,
    join,
    next_generation,
)
from evertoken.core.outcome import Revocation
from evertoken.core.token import Token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evertoken.core.effects import Plan, Steps
    from evertoken.core.login import Login
    from evertoken.core.state import Snapshot
    from evertoken.errors import TokenError


def revocation(plan: Plan, snapshot: Snapshot) -> Steps[Revocation]:
    """Revoke the manager's token and the stored tokens that belong to its credentials.

    A token in flight is covered too: it got its generation before its request was sent, so it is
    not above `revoked_through` when it arrives. If a store holds a token of other credentials,
    tokens in flight are not covered. The tombstone is saved before the server is asked, so that no
    sibling sends a token that the server is about to revoke. Each lock is waited for `lock_timeout`
    at most; then the revocation goes on without it.
    """
    reading = yield ReadCredentials()
    if not isinstance(reading, Reading):
        # without credentials, only the manager's own tokens are known to be ours
        own = tuple(filter(None, (snapshot.token, snapshot.former)))
        return _ended(NOTHING, own, _newest(own), reading)
    if snapshot.key not in {None, reading.key}:
        # The credentials now name another identity, of which this manager has no token.
        snapshot = replace(snapshot, token=None, former=None, entry=NOTHING)
    entries = yield from _lock_and_load(plan)
    ours, foreign = yield from _owned(reading, snapshot, entries)
    seconds = yield OrderingTime()
    known = demoted(reduce(join, entries, snapshot.entry), seconds)
    # a token or a login of other credentials must survive
    through = _newest(ours) if foreign else next_generation(known, seconds)
    known = join(known, _tombstone(ours, known, through))
    login = known.login
    known = known if foreign else _without_login(known, seconds)
    for store in reversed(range(plan.stores)):
        yield Save(store, known)
    told = ours if foreign else _with_login(ours, login)
    return _ended(known, told, through, (yield from _revoke(reading, told)))


def _tombstone(ours: tuple[Token, ...], known: Entry, through: int) -> Entry:
    """The tombstone. If it kills no token of ours, a known outage is moved above it, to survive."""
    dead, outage = Entry.of_revocation(through), known.outage
    if ours or outage is None:
        return dead
    return join(dead, Entry.of_failure(replace(outage, generation=through + 1)))


def _lock_and_load(plan: Plan) -> Steps[list[Entry]]:
    """Take every lock, near to far, and load every store."""
    for store in range(plan.stores):
        yield Lock(store, plan.lock_timeout)
    entries: list[Entry] = []
    for store in range(plan.stores):
        entry = yield Load(store)
        entries.append(entry or NOTHING)
    return entries


def _owned(
    reading: Reading, snapshot: Snapshot, entries: Iterable[Entry]
) -> Steps[tuple[tuple[Token, ...], bool]]:
    """The tokens that are ours, and whether a store holds others."""
    ours = {token.value: token for token in (snapshot.token, snapshot.former) if token is not None}
    foreign = False
    for token in filter(None, (entry.token for entry in entries)):
        if token.value not in ours:
            if (yield MayAdopt(reading, token)):
                ours[token.value] = token
            else:
                foreign = True
    return tuple(ours.values()), foreign


def _revoke(reading: Reading, tokens: Iterable[Token]) -> Steps[TokenError | None]:
    """Revoke each token at the server; returns the first error."""
    first = None
    for token in tokens:
        error = yield Revoke(reading, token)
        first = first or error
    return first


def _without_login(entry: Entry, seconds: float) -> Entry:
    """`entry` with its login ended."""
    if entry.login is None:
        return entry
    ended = replace(entry.login, refresh_token=None, generation=next_generation(entry, seconds))
    return join(entry, Entry(login=ended))


def _with_login(ours: tuple[Token, ...], login: Login | None) -> tuple[Token, ...]:
    """`ours`, the newest of them with the refresh token of `login`: it outlives its tokens."""
    newest = None if login is None else login.refresh_token
    if newest is None or any(token.refresh_token == newest for token in ours):
        return ours
    if not ours:
        return (Token("", 0.0, 0.0, refresh_token=newest),)
    last = max(ours, key=lambda token: token.order)
    others = (token for token in ours if token is not last)
    return (replace(last, refresh_token=newest), *others)


def _ended(
    known: Entry, tokens: tuple[Token, ...], through: int, error: TokenError | None
) -> Revocation:
    entry = join(known, Entry.of_revocation(through))
    return Revocation(tokens=tokens, entry=entry, error=error)


def _newest(tokens: Iterable[Token]) -> int:
    return max((token.generation for token in tokens), default=NOTHING_REVOKED)
