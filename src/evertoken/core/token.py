"""A token and the identity it belongs to: immutable values that hide their secrets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, Self

if TYPE_CHECKING:
    from evertoken.core.instant import Instant

FUTURE_TOLERANCE = 60.0
"""Seconds by which a time may lie in the future before it is not trusted."""

LONGEST_LIFETIME = 365 * 24 * 3600.0
"""Seconds: a longer `expires_in` is cut to it, and a token that claims more is not trusted."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The identity that a token belongs to. Tokens never cross identities. Holds no secret.

    Attributes:
        token_url: where the token is requested.
        client_id: the OAuth client; None where the server wants none.
        username: the resource owner or account, if there is one.
        scope: the scope that is requested.
        extra: what else decides whose token it is, as pairs of name and value: form parameters
            (audience, resource …) and hashed header fields (`x-tenant:`); sorted, so that their
            order does not make another identity.
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
        """Whose token it is: the user name."""
        return self.username

    def digest(self) -> str:
        """32 hexadecimal digits that name this identity without showing it.

        The first four fields are hashed by position. A later field is appended by name, and only
        if it is set, so that a new field renames no file.
        """
        parts: tuple[object, ...] = (self.token_url, self.client_id, self.username, self.scope)
        if self.extra:
            parts += (("extra", self.extra),)
        # repr() escapes differently with each version of Unicode that Python comes with
        return hashlib.sha256(ascii(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Token:
    """An access token with its times and scope; replaced whole, never changed.

    Attributes:
        value: the access token; not shown by `repr`.
        issued_at: when it was requested, in Unix seconds.
        expires_at: when it expires by its issuer's word, in Unix seconds.
        scope: the scope that was granted, if the server named one.
        refresh_token: not shown by `repr`.
        issued_boot: `issued_at` on the clock since boot, if it is known and still comparable.
        generation: its place in the order of all tokens of its identity; 0 if it has none yet.
    """

    value: str = field(repr=False)
    issued_at: float
    expires_at: float
    scope: str | None = None
    refresh_token: str | None = field(default=None, repr=False)
    issued_boot: float | None = field(default=None, repr=False, compare=False)
    generation: int = 0

    @property
    def lifetime(self) -> float:
        """Seconds from issue to expiry."""
        return self.expires_at - self.issued_at

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts tokens of one identity from old to new, the same way on every machine.

        Generation first, then text. Times come last because machines' clocks differ. Of two copies
        of one token the one that expires first wins.
        """
        reading = (False, 0.0) if self.issued_boot is None else (True, -self.issued_boot)
        content = self.value, self.scope or "", self.refresh_token or ""
        absent = self.scope is None, self.refresh_token is None
        return self.generation, *content, *absent, -self.expires_at, -self.issued_at, *reading

    def digest(self) -> str:
        """16 hexadecimal digits that tell this token from others without showing it."""
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]

    def plausible(self, now: Instant) -> bool:
        """Whether its times can be true: not in the future, and not longer than a year."""
        age_by_wall = now.wall - self.issued_at
        age_by_boot = 0.0 if self.issued_boot is None else now.boot - self.issued_boot
        youngest = min(age_by_wall, age_by_boot)
        # a second more: from 2038 on doubles are coarser, and a year that ends there is rounded up
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
            "a Token does not pickle, so that no secret travels by accident: "
            "send the manager instead, or token.value where it must travel"
        )
