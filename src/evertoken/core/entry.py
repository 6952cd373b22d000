"""What is known about an identity, as one value, and the single way to merge two of them."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from evertoken.core.failure_kind import FailureKind
from evertoken.core.token import LONGEST_LIFETIME, Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.login import Login

KEPT = 8
"""The number of refused credentials, and of initial refresh tokens, that an entry remembers."""

NOTHING_REVOKED = -1
"""Below every generation."""

FAR_FUTURE = LONGEST_LIFETIME
"""Seconds. A generation further ahead is not trusted: some clock was set to a wrong year."""


class _Ordered(Protocol):
    @property
    def order(self) -> tuple[object, ...]: ...


T = TypeVar("T", bound=_Ordered)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a process or a store knows about an identity.

    Pass a value from outside through `normalised`.

    Attributes:
        token: the newest access token known.
        login: the refresh token of an exclusive grant.
        revoked_through: every access token up to this generation is dead; -1 if none is.
        failures: newest first, including those that have ended: one outage, and the newest 8
            refusals, one per refused credentials.
        salt: for the credential hashes of this entry; empty while it holds none.
    """

    token: Token | None = None
    login: Login | None = None
    revoked_through: int = NOTHING_REVOKED
    failures: tuple[Failure, ...] = ()
    salt: bytes = field(default=b"", repr=False)

    @classmethod
    def of_token(cls, token: Token) -> Entry:
        """The entry of a granted token."""
        return cls(token=token)

    @classmethod
    def of_revocation(cls, through: int) -> Entry:
        """The entry of a revocation: every token up to generation `through` is dead."""
        return cls(revoked_through=through)

    @classmethod
    def of_failure(cls, failure: Failure, salt: bytes = b"") -> Entry:
        """The entry of a failed renewal; empty for a local one, which binds only its manager."""
        return normalised(cls(failures=(failure,), salt=salt))

    @property
    def outage(self) -> Failure | None:
        """The outage, if there is one."""
        return next((each for each in self.failures if not each.refused), None)

    @property
    def refusals(self) -> tuple[Failure, ...]:
        """The failures that bind managers with the same credentials."""
        return tuple(each for each in self.failures if each.refused)

    def refusal_of(self, credentials_hash: bytes) -> Failure | None:
        """The newest record of these credentials."""
        matches = (each for each in self.refusals if each.credentials_hash == credentials_hash)
        return next(matches, None)

    @property
    def newest(self) -> int:
        """The highest generation in this entry."""
        newest = max(0, self.revoked_through)
        for part in (self.token, self.login, *self.failures):
            if part is not None and part.generation > newest:
                newest = part.generation
        return newest

    def dated(self, now: Instant) -> Entry:
        """This entry, as loaded at `now`, with all its times on the clock since boot too."""
        token = self.token and self.token.dated(now)
        return replace(self, token=token, failures=tuple(each.dated(now) for each in self.failures))

    def kills(self, token: Token) -> bool:
        """Whether `token` was revoked or invalidated."""
        return token.generation <= self.revoked_through


NOTHING = Entry()


def join(a: Entry, b: Entry) -> Entry:
    """Everything that `a` and `b` know. Both must be `normalised`.

    Commutative, associative and idempotent; reads no clock. Reports may therefore arrive in any
    order, late or twice: a newer token is never lost, and a dead one never returns.
    """
    if a is b or b is NOTHING:
        return a
    return b if a is NOTHING else _union(a, b)


def normalised(value: Entry) -> Entry:
    """`value` as a valid entry: without dead, superseded and surplus parts."""
    return _union(value, NOTHING)


def _union(a: Entry, b: Entry) -> Entry:
    revoked = max(a.revoked_through, b.revoked_through)
    token = _newest(a.token, b.token)
    if token is not None and token.generation <= revoked:
        token = None
    cleared_through = revoked if token is None else token.generation
    salt = min(a.salt or b.salt, b.salt or a.salt)
    failures = _remembered(a, b, cleared_through, salt) if a.failures or b.failures else ()
    joined = Entry(token, _merged(a.login, b.login), revoked, failures, salt)
    # If one of them already knew everything, return that object, so that stores and managers share
    # it.
    return next((each for each in (a, b) if _has_parts(each, joined)), joined)


def _has_parts(entry: Entry, joined: Entry) -> bool:
    """Whether `entry` has the very parts of `joined`. By identity, since `==` ignores errors."""
    return (
        entry.token is joined.token
        and entry.login is joined.login
        and (entry.revoked_through, entry.salt) == (joined.revoked_through, joined.salt)
        and len(entry.failures) == len(joined.failures)
        and all(map(operator.is_, entry.failures, joined.failures))
    )


def _remembered(a: Entry, b: Entry, cleared_through: int, salt: bytes) -> tuple[Failure, ...]:
    outages = [each for each in (*a.failures, *b.failures) if _outlasts(each, cleared_through)]
    # a hash under another salt matches no credentials
    refusals = [each for entry in (a, b) if salt and entry.salt == salt for each in entry.refusals]
    newest = sorted(outages, key=lambda each: each.order)[-1:]
    return (*newest, *_last(refusals, lambda each: each.credentials_hash))


def _outlasts(failure: Failure, generation: int) -> bool:
    """Whether `failure` is an outage that began after the token of `generation`."""
    return failure.kind is FailureKind.UNAVAILABLE and failure.generation > generation


def _merged(a: Login | None, b: Login | None) -> Login | None:
    newest = _newest(a, b)
    if newest is None:
        return None
    used = [each for login in (a, b) if login is not None for each in login.initials]
    initials = _last(used, lambda each: each.digest)
    return newest if initials == newest.initials else replace(newest, initials=initials)


def _newest(a: T | None, b: T | None) -> T | None:
    if a is None or b is None or a is b:
        return a or b
    return a if a.order > b.order else b


def _last(items: list[T], group: Callable[[T], object]) -> tuple[T, ...]:
    """The newest item of each group; at most 8, newest first."""
    newest: dict[object, T] = {}
    for item in sorted(items, key=lambda each: each.order, reverse=True):
        newest.setdefault(group(item), item)
    return tuple(newest.values())[:KEPT]


def next_generation(entry: Entry, seconds: float) -> int:
    """A generation above everything in `entry`.

    A hybrid logical clock: it follows the clock, and keeps counting if that is set back.

    Args:
        entry: everything that is known.
        seconds: the ordering time, in Unix seconds.
    """
    return max(entry.newest + 1, int(seconds))


def demoted(entry: Entry, seconds: float) -> Entry:
    """`entry` without generations from the far future, at the ordering time `seconds` (Unix).

    They come from a clock that was set to a wrong year for a while, and would beat every later
    token. A token gets the lowest generation that the entry's revocation does not cover; a
    revocation still covers the tokens demoted with it.
    """
    limit = seconds + FAR_FUTURE
    if entry.newest <= limit:
        return entry
    revoked = entry.revoked_through if entry.revoked_through <= limit else 0
    token, login = entry.token, entry.login
    if token is not None and token.generation > limit:
        token = replace(token, generation=revoked + 1)
    if login is not None and login.generation > limit:
        login = replace(login, generation=0)
    failures = tuple(each for each in entry.failures if each.generation <= limit)
    return normalised(Entry(token, login, revoked, failures, entry.salt))


def join_at(a: Entry, b: Entry, seconds: float) -> Entry:
    """The join of `a` and `b`, each `demoted` at the ordering time `seconds` (Unix).

    Processes and stores merge with this. Each is demoted before the join: nobody can tell whether a
    token from the far future was issued before or after a revocation in the other entry, and using
    a dead token costs more than a grant. The arguments need not be `normalised`; the result is.
    """
    return _union(demoted(a, seconds), demoted(b, seconds))


def adds(new: Entry, held: Entry) -> bool:
    """Whether `new` knows something that `held` does not, so that saving it is worthwhile.

    Times are not compared: they are converted between machines' clocks, so two machines would keep
    correcting each other forever.
    """
    joined = join(new, held)
    return joined is not held and _facts(joined) != _facts(held)


def _facts(entry: Entry) -> object:
    token = None if entry.token is None else (entry.token.generation, entry.token.value)
    failures = [(each.generation, each.count, each.credentials_hash) for each in entry.failures]
    return token, entry.login, entry.revoked_through, failures, entry.salt
