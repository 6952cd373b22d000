"""A token and the identity it belongs to: immutable values whose `repr` shows no secret."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn, Self

if TYPE_CHECKING:
    from evertoken.core.instant import Instant

FUTURE_TOLERANCE = 60.0
"""Seconds. A time further in the future is not trusted."""

LONGEST_LIFETIME = 365 * 24 * 3600.0
"""Seconds. A longer `expires_in` is cut to this; a stored token that claims more is not trusted."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The identity that a token belongs to. Tokens never cross identities. Holds no secret.

    Attributes:
        token_url: where the token is requested.
        client_id: the OAuth client; None if the server requires none.
        username: the resource owner or account, if there is one.
        scope: the requested scope.
        extra: everything else that distinguishes identities, as pairs of name and value: form
            parameters (audience, resource …) and hashed header fields (`x-tenant:`). Sorted, so
            that their order does not matter.
    """

    token_url: str
    client_id: str | None = None
    username: str | None = None
    scope: str | None = None
    extra: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", tuple(sorted(self.extra)))

    @property
    def subject(self) -> str | None:
        """The user name that the token belongs to."""
        return self.username

    @property
    def account(self) -> str:
        """The user name or, without one, the client id: as logs and errors name it."""
        account = self.username or self.client_id or "a client without an id"
        return account if account.isprintable() else ascii(account)[1:-1]

    def __str__(self) -> str:
        return f"{self.account} at {self.token_url}"

    def digest(self) -> str:
        """32 hexadecimal digits that identify this identity without revealing it.

        The first four fields are hashed by position. Later fields are appended by name, and only if
        they are set, so that a new field does not rename existing files.
        """
        parts: tuple[object, ...] = (self.token_url, self.client_id, self.username, self.scope)
        if self.extra:
            parts += (("extra", self.extra),)
        # `repr` escapes differently in each Python version, as its Unicode tables change
        return hashlib.sha256(ascii(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Token:
    """An access token with its times and scope. Immutable.

    Attributes:
        value: the access token; not shown by `repr`.
        issued_at: when its request was sent, in Unix seconds.
        expires_at: when it expires according to its issuer, in Unix seconds.
        scope: the granted scope, if the server named one.
        refresh_token: not shown by `repr`.
        issued_boot: `issued_at` on the clock since boot, if it is known and still comparable.
        generation: its place in the order of all tokens of its identity; 0 if it has none yet.
        refresh_expires_at: when `refresh_token` ends, in Unix seconds, if the server said so; no
            store keeps it, but as part of a login.
    """

    value: str = field(repr=False)
    issued_at: float
    expires_at: float
    scope: str | None = None
    refresh_token: str | None = field(default=None, repr=False)
    issued_boot: float | None = field(default=None, repr=False, compare=False)
    generation: int = 0
    refresh_expires_at: float | None = field(default=None, compare=False)

    @property
    def lifetime(self) -> float:
        """Seconds from issue to expiry."""
        return self.expires_at - self.issued_at

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts tokens of one identity from old to new, the same way on every machine.

        Generation first, then text. Times come last because machines' clocks differ: among copies
        of one token, the copy that expires first is the newest.
        """
        reading = (False, 0.0) if self.issued_boot is None else (True, -self.issued_boot)
        content = self.value, self.scope or "", self.refresh_token or ""
        absent = self.scope is None, self.refresh_token is None
        end = -1.0 if self.refresh_expires_at is None else self.refresh_expires_at
        return self.generation, *content, *absent, -self.expires_at, -self.issued_at, *reading, end

    def digest(self) -> str:
        """16 hexadecimal digits that identify this token without revealing it."""
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]

    def dated(self, now: Instant) -> Token:
        """This token with its issue time on the clock since boot, from its age at `now` if need be.

        Setting the wall clock back later then does not prolong it.
        """
        if self.issued_boot is not None:
            return self
        return replace(self, issued_boot=now.boot - max(0.0, now.wall - self.issued_at))

    def plausible(self, now: Instant) -> bool:
        """Whether its times can be true: not issued in the future, not valid for over a year."""
        age_by_wall = now.wall - self.issued_at
        age_by_boot = 0.0 if self.issued_boot is None else now.boot - self.issued_boot
        youngest = min(age_by_wall, age_by_boot)
        # One second of tolerance: doubles are coarser from 2038 on, where a year may be rounded up.
        return youngest >= -FUTURE_TOLERANCE and 0 <= self.lifetime < LONGEST_LIFETIME + 1

    def issued_since(self, start: Instant) -> bool:
        """Whether it was issued at `start` or later."""
        if self.issued_boot is not None:
            return self.issued_boot >= start.boot
        return self.issued_at >= start.wall

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Token does not pickle, so that its secret does not leak by accident: "
            "send the manager instead, or token.value if the secret itself is needed"
        )
