"""One moment, and the tokens, refusals and errors that a specification sets around it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, TypeVar

from evertoken.errors import GrantRefused, GrantUnavailable, TokenError
from evertoken.core.instant import Instant
from evertoken.token import Refusal, Token, TokenKey

if TYPE_CHECKING:
    from evertoken.token import Entry

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


def outage(
    at: Instant = NOW, *, pause: float = 60.0, token: Token | None = None, reading: bool = True
) -> Refusal:
    """A failure that has nothing to do with the credentials."""
    return Refusal(
        refused_at=at.wall,
        until=at.wall + pause,
        error=GrantUnavailable("the endpoint is down", status=503, transient=True),
        failures=1,
        token=token,
        refused_boot=at.boot if reading else None,
    )


def refusal(at: Instant = NOW, *, pause: float = 300.0, token: Token | None = None) -> Refusal:
    """Refused credentials."""
    return Refusal(
        refused_at=at.wall,
        until=at.wall + pause,
        error=GrantRefused("the endpoint refused", status=400, error="invalid_grant"),
        failures=1,
        salt=b"salt",
        tag=b"tag",
        token=token,
        refused_boot=at.boot,
    )


def told(error: TokenError | None) -> object:
    """All that an error says, to compare by: exceptions themselves compare by identity."""
    return None if error is None else (type(error), str(error), vars(error))


def content(entry: Entry | None) -> object:
    """All that an entry says, to compare by; the readings that take no part in `==` included."""
    if not isinstance(entry, Refusal):
        return entry and (entry, entry.issued_boot)
    mark = entry.forgets and (entry.forgets, entry.forgets.issued_boot)
    rest = (entry.refused_at, entry.until, entry.failures, entry.salt, entry.tag, mark)
    return rest, entry.refused_boot, told(entry.error), content(entry.token)


def pickled(value: T, protocol: int | None = None) -> T:
    """`value`, as it comes out at the other end."""
    travelled: T = pickle.loads(pickle.dumps(value, protocol))  # noqa: S301  packed right here
    return travelled
