"""The login of an exclusive grant: its rotating refresh token and the tokens that started it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Initial:
    """An initial refresh token that has been used: never shown, and never used again.

    Attributes:
        generation: of the login it started.
        digest: of its text.
    """

    generation: int
    digest: str

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts from old to new."""
        return self.generation, self.digest


@dataclass(frozen=True, slots=True)
class Login:
    """The rotating refresh token of an exclusive grant. It outlives its access tokens.

    Attributes:
        refresh_token: the newest one; None once the login has ended. Not shown by `repr`.
        generation: counts up with each successor.
        being_spent: whether a renewal is about to send it. Saved before each use; the save proves
            that the successor can be saved. If it is set while nobody holds the lock, the last use
            brought no successor: it failed, or its process died.
        initials: the initial tokens that started this login and those before it.
        expires_at: when `refresh_token` ends, in Unix seconds by the clock of who obtained it;
            None: the server did not say.
    """

    refresh_token: str | None = field(repr=False)
    generation: int
    being_spent: bool = False
    initials: tuple[Initial, ...] = field(default=(), repr=False)
    expires_at: float | None = None

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts from old to new; in one generation, an ended login or one being spent is newest."""
        ended = self.refresh_token is None
        end = -1.0 if self.expires_at is None else self.expires_at
        return self.generation, ended, self.being_spent, self.refresh_token or "", end


def digest_of(refresh_token: str) -> str:
    """A digest that identifies an initial refresh token without revealing it."""
    return hashlib.sha256(refresh_token.encode()).hexdigest()[:32]
