"""A token, whose it is, and why there may be none: immutable values that hide their secrets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn, Self

if TYPE_CHECKING:
    from evertoken.errors import TokenError
    from evertoken.instant import Instant

FUTURE_TOLERANCE = 60.0
"""Seconds by which an entry may lie in the future before it is not trusted."""

LONGEST_LIFETIME = 365 * 24 * 3600.0
"""Seconds: a longer `expires_in` is clamped to it, and an entry that claims more is not trusted."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Whose token: tokens never cross from one identity to another. Never holds the password."""

    token_url: str
    client_id: str
    username: str | None = None
    scope: str | None = None

    def digest(self) -> str:
        """32 hexadecimal digits that name this identity without showing it."""
        parts = (self.token_url, self.client_id, self.username, self.scope)
        # repr() would escape more or less with each version of Unicode that Python comes with
        return hashlib.sha256(ascii(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Token:
    """An access token with its times and scope; replaced whole, never changed.

    Attributes:
        value: the access token; not shown by `repr`.
        issued_at: when it was asked for, in Unix seconds.
        expires_at: when it ends by its issuer's word, in Unix seconds.
        scope: the scope that was granted, where the server named one.
        refresh_token: not shown by `repr`.
        issued_boot: `issued_at` on the clock since boot, where it is known and still comparable.
    """

    value: str = field(repr=False)
    issued_at: float
    expires_at: float
    scope: str | None = None
    refresh_token: str | None = field(default=None, repr=False)
    issued_boot: float | None = field(default=None, repr=False, compare=False)

    @property
    def lifetime(self) -> float:
        """Seconds from issue to expiry."""
        return self.expires_at - self.issued_at

    def digest(self) -> str:
        """16 hexadecimal digits that tell this token from others without showing it."""
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]

    def plausible(self, now: Instant) -> bool:
        """Whether its times can be true: not from the future, no longer than a year."""
        by_wall = now.wall - self.issued_at
        by_boot = 0.0 if self.issued_boot is None else now.boot - self.issued_boot
        youngest = min(by_wall, by_boot)
        # a second more: from 2038 on doubles are coarser, and a year that ends there is rounded up
        return youngest >= -FUTURE_TOLERANCE and 0 <= self.lifetime < LONGEST_LIFETIME + 1

    def later_than(self, other: Token) -> bool:
        """Whether it was issued after `other`; where both have it, by the clock no one can set."""
        return _later(self, other.issued_at, other.issued_boot)

    def issued_since(self, start: Instant) -> bool:
        """Whether it was issued at `start` or after."""
        if self.issued_boot is not None:
            return self.issued_boot >= start.boot
        return self.issued_at >= start.wall

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Token does not pickle, so that no secret travels by accident: "
            "send the manager instead, or token.value where it must travel"
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """Which token was revoked or invalidated, without showing it.

    Attributes:
        digest: of its value.
        issued_at: when it was asked for, in Unix seconds.
        issued_boot: `issued_at` on the clock since boot, where it is known and comparable.
    """

    digest: str
    issued_at: float
    issued_boot: float | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, token: Token) -> Self:
        """The mark of `token`."""
        return cls(token.digest(), token.issued_at, token.issued_boot)

    def precedes(self, token: Token) -> bool:
        """Whether `token` was issued after the dead one."""
        return _later(token, self.issued_at, self.issued_boot)

    def outdates(self, token: Token, now: Instant) -> bool:
        """Whether `token` was issued before the dead one, which had replaced it.

        A store has room for one mark, and the mark of an earlier token went when its successor
        came: what was issued before a dead token counts for dead.
        """
        if self.issued_boot is not None and token.issued_boot is not None:
            return token.issued_boot < self.issued_boot
        # a mark from the future would end each new token, for as long as it lies there
        return token.issued_at < self.issued_at <= now.wall


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the token endpoint is not asked for a while, as siblings share it.

    With `forgets` that token must not be sent again; with nothing else it is a mere tombstone.

    Attributes:
        refused_at: when it came about, in Unix seconds.
        until: when the endpoint may be asked again, in Unix seconds.
        error: what a caller is told meanwhile.
        failures: how many failures in a row led here.
        salt, tag: tell changed credentials from the refused ones (a slow hash); empty where the
            failure has nothing to do with them.
        token: the last token that was had, whether it lives on or not.
        forgets: the last token that was revoked or invalidated.
        refused_boot: `refused_at` on the clock since boot, where it is known and comparable.
    """

    refused_at: float
    until: float
    error: TokenError | None = None
    failures: int = 0
    salt: bytes = field(default=b"", repr=False)
    tag: bytes = field(default=b"", repr=False)
    token: Token | None = None
    forgets: Mark | None = None
    refused_boot: float | None = field(default=None, repr=False, compare=False)

    @classmethod
    def tombstone(cls, token: Token, now: Instant) -> Self:
        """The mark that `token` is dead, to be kept for as long as somebody could hold it."""
        until = max(now.wall, token.expires_at)
        return cls(now.wall, until, forgets=Mark.of(token), refused_boot=now.boot)

    def ends(self, token: Token, now: Instant) -> bool:
        """Whether `token` must not be sent again.

        One that was granted after its mark was made lives, by its server's word: some servers
        answer a second grant with the token that they gave before.
        """
        if self.forgets is None:
            return False
        if self.forgets.digest == token.digest():
            return not (self.forgets.precedes(token) and self._precedes(token))
        return self.forgets.outdates(token, now)

    def _precedes(self, token: Token) -> bool:
        return _later(token, self.refused_at, self.refused_boot)

    def remaining(self, now: Instant) -> float:
        """Seconds for which it still stands, by whichever clock says less; 0 where it does not."""
        by_wall = now.wall - self.refused_at
        if by_wall < -FUTURE_TOLERANCE:
            return 0.0
        by_boot = 0.0 if self.refused_boot is None else now.boot - self.refused_boot
        return max(0.0, self.until - self.refused_at - max(by_wall, by_boot))


def _later(token: Token, moment: float, boot: float | None) -> bool:
    """Whether it was issued after a moment; by the clock since boot, where both are on it."""
    if boot is not None and token.issued_boot is not None:
        return token.issued_boot > boot
    return token.issued_at > moment


Entry = Token | Refusal


def token_of(entry: Entry | None) -> Token | None:
    """The token that `entry` is or carries."""
    return entry.token if isinstance(entry, Refusal) else entry


def supersedes(entry: Entry, held: Entry | None, now: Instant) -> bool:
    """Whether a store that holds `held` may replace it by `entry`.

    A later token is never lost to an earlier one, and a dead one never comes back; what cannot be
    true (times from the future) gives way to anything.
    """
    token, rival = token_of(entry), token_of(held)
    if isinstance(held, Refusal) and token is not None and held.ends(token, now):
        return False
    if rival is None or not rival.plausible(now) or rival.expires_at <= now.wall:
        return True
    return token is not None and not rival.later_than(token)


def forgotten(held: Entry | None, token: Token, now: Instant) -> Entry | None:
    """What a store that holds `held` keeps once `token` is dead; None: it has nothing to change."""
    if held is None:
        return Refusal.tombstone(token, now)
    kept = token_of(held)
    if kept is not None and kept.value != token.value:
        return None
    if isinstance(held, Refusal):
        if kept is None and held.ends(token, now):
            return None
        if held.error is not None:
            return replace(held, token=None, forgets=Mark.of(token))
    return Refusal.tombstone(token, now)
