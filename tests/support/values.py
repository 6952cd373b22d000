"""One moment, and the tokens, refusals and errors that a specification sets around it."""

from __future__ import annotations

import pickle
from typing import TypeVar

from evertoken.core.failure import Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.instant import Instant
from evertoken.core.token import Token, TokenKey
from evertoken.errors import GrantRefused, GrantUnavailable, TokenError

T = TypeVar("T")

HOUR = 3600.0
DAY = 24 * HOUR

NOW = Instant(wall=1_700_000_000.0, boot=1_000_000.0)
"""The moment that everything is reckoned from; so late after boot that ages of days fit in."""

KEY = TokenKey("https://tokens.example/oauth/token/", "client-1", "agent-7", "read write")

PLANTED = "planted-access-token"
"""An access token that must not show anywhere."""


def issued(
    at: Instant = NOW,
    *,
    value: str = PLANTED,
    lifetime: float = HOUR,
    reading: bool = True,
    refresh_token: str | None = None,
) -> Token:
    """A token asked for at `at`; without `reading`, not dated by the clock since boot."""
    return Token(
        value=value,
        issued_at=at.wall,
        expires_at=at.wall + lifetime,
        refresh_token=refresh_token,
        issued_boot=at.boot if reading else None,
    )


def ago(seconds: float) -> Instant:
    """So many seconds before `NOW`, on both clocks."""
    return NOW.after(-seconds)


def outage(at: Instant = NOW, *, pause: float = 60.0, reading: bool = True) -> Failure:
    """A failure that has nothing to do with the credentials."""
    return Failure(
        kind=FailureKind.UNAVAILABLE,
        at=at.wall,
        until=at.wall + pause,
        error=GrantUnavailable("the endpoint is down", status=503, transient=True),
        generation=int(at.wall),
        at_boot=at.boot if reading else None,
    )


def refusal(at: Instant = NOW, *, pause: float = 300.0) -> Failure:
    """Refused credentials."""
    return Failure(
        kind=FailureKind.REFUSED,
        at=at.wall,
        until=at.wall + pause,
        error=GrantRefused("the endpoint refused", status=400, error="invalid_grant"),
        generation=int(at.wall),
        credentials_hash=b"hash",
        at_boot=at.boot,
    )


def told(error: TokenError | None) -> object:
    """All that an error says, to compare by: exceptions themselves compare by identity."""
    return None if error is None else (type(error), str(error), vars(error))


def pickled(value: T, protocol: int | None = None) -> T:
    """`value`, as it comes out at the other end."""
    travelled: T = pickle.loads(pickle.dumps(value, protocol))  # noqa: S301  packed right here
    return travelled
