"""What one renewal is asked to do, and what came of it: values between who asks and who renews."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evertoken import clock, policy
from evertoken.token import Refusal, Token

if TYPE_CHECKING:
    from evertoken.errors import TokenError
    from evertoken.instant import Instant
    from evertoken.policy import Snapshot
    from evertoken.token import Entry, Mark, TokenKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one renewal is asked to do.

    Attributes:
        snapshot: what the caller held.
        start: the caller's reading of both clocks.
        identity: whose token the snapshot is of; None where that has not been asked yet.
        force: grant even where a back-off, a refusal or the floor between grants forbids it.
        rejected: a token that an API refused: not adopted again.
        latest: the last token known to have been granted, used up or not.
        refusal: the last failure that a store knows of.
        forgets: the token that a store holds for dead.
    """

    snapshot: Snapshot
    start: Instant
    identity: TokenKey | None = None
    force: bool = False
    rejected: Token | None = None
    latest: Token | None = None
    refusal: Refusal | None = None
    forgets: Mark | None = None

    @property
    def last_failure(self) -> Refusal | None:
        """The last failure that the manager or a store knows of, over or not."""
        return self.refusal or self.snapshot.refusal

    @property
    def bare(self) -> bool:
        """Whether nobody has a token, and no failure is known yet."""
        return not self.snapshot.usable(self.start) and self.last_failure is None

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for its outcome."""
        idle = self.snapshot.usable(self.start) and self.rejected is None
        return self.force or not idle

    def of(self, identity: TokenKey) -> Demand:
        """This demand for `identity`: nothing that is known of another one travels with it."""
        if self.identity in {None, identity}:
            return replace(self, identity=identity)
        return Demand(snapshot=policy.EMPTY, start=self.start, identity=identity, force=self.force)

    def knowing(self, entry: Entry | None) -> Demand:
        """This demand in the light of what a store holds."""
        if isinstance(entry, Token) and (self.latest is None or entry.later_than(self.latest)):
            return replace(self, latest=entry, refusal=None)
        if not isinstance(entry, Refusal):
            return self
        now = clock.elapsed(self.start)
        latest = _living(later_of(self.latest, entry.token), entry, now)
        known = replace(self, forgets=entry.forgets or self.forgets, latest=latest)
        if entry.error is not None:
            known = replace(known, refusal=entry)
        held = self.snapshot.token
        if held is _living(held, entry, now):
            return known
        bare = replace(policy.EMPTY, refusal=self.snapshot.refusal)
        return replace(known, snapshot=bare)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a renewal; neither token nor refusal: a sibling is at it.

    Attributes:
        entry: the token, or why there is none.
        source: `"grant"`, or the name of the store that it was adopted from.
        seconds: how long the renewal took.
        identity: whose token it is; None where the credentials could not be read.
    """

    entry: Entry | None = None
    source: str = "busy"
    seconds: float = 0.0
    identity: TokenKey | None = None

    @property
    def error(self) -> TokenError | None:
        """What a caller that waited is told."""
        return self.entry.error if isinstance(self.entry, Refusal) else None

    @property
    def shared(self) -> bool:
        """Whether siblings are to know it: not a failure of this process's own."""
        return self.entry is not None and not (self.error is not None and self.error.local)


BUSY = Outcome()

GRANT = "grant"
"""The source of what the token endpoint answered."""

OWN = "own"
"""The source of a refusal that the manager remembered by itself."""


def later_of(one: Token | None, other: Token | None) -> Token | None:
    """The later of the two; the one that there is."""
    if one is None or other is None:
        return one or other
    return other if other.later_than(one) else one


def _living(token: Token | None, refusal: Refusal, now: Instant) -> Token | None:
    return None if token is not None and refusal.ends(token, now) else token
