"""Values of the core that a test plants in stores, and how it compares what comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evertoken.core.entry import Entry
from evertoken.core.failure import Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.instant import Instant
from evertoken.core.token import Token, TokenKey
from evertoken.errors import GrantRefused, GrantUnavailable, TokenError

if TYPE_CHECKING:
    from evertoken.ports import TokenStore

HOUR = 3600.0
DAY = 24 * HOUR
NOW = Instant(wall=1_700_000_000.0, boot=1_000_000.0)
"""The moment that everything is reckoned from; so late after boot that ages of days fit in."""
GENERATION = int(NOW.wall)
KEY = TokenKey("https://tokens.example/oauth/token/", "client-1", "agent-7", "read write")
OTHERS = [
    replace(KEY, token_url="https://other.example/oauth/token/"),
    replace(KEY, client_id="another"),
    replace(KEY, username="another"),
    replace(KEY, username=None),
    replace(KEY, scope="read"),
    replace(KEY, scope=None),
    replace(KEY, extra=(("audience", "api"),)),
]
"""Identities that differ from `KEY` in one field each."""
PLANTED = "planted-access-token"
"""An access token that must not show anywhere."""


def issued(
    at: Instant = NOW,
    *,
    value: str = PLANTED,
    lifetime: float = HOUR,
    reading: bool = True,
    refresh_token: str | None = None,
    generation: int | None = None,
) -> Token:
    """A token requested at `at`; without `reading`, not dated by the clock since boot."""
    return Token(
        value=value,
        issued_at=at.wall,
        expires_at=at.wall + lifetime,
        refresh_token=refresh_token,
        issued_boot=at.boot if reading else None,
        generation=int(at.wall) if generation is None else generation,
    )


def error_of(kind: FailureKind) -> TokenError:
    """The error that a failure of this kind bears."""
    if kind is FailureKind.REFUSED:
        return GrantRefused("the endpoint refused", status=400, error="invalid_grant")
    return GrantUnavailable("the endpoint is down", status=503, transient=True)


def failure(
    at: Instant = NOW,
    *,
    kind: FailureKind = FailureKind.UNAVAILABLE,
    pause: float = 60.0,
    credentials_hash: bytes = b"",
    count: int = 1,
    generation: int | None = None,
    reading: bool = True,
) -> Failure:
    """A failure at `at` that is waited out for `pause` seconds."""
    return Failure(
        kind=kind,
        at=at.wall,
        until=at.wall + pause,
        error=error_of(kind),
        count=count,
        generation=int(at.wall) if generation is None else generation,
        credentials_hash=credentials_hash,
        at_boot=at.boot if reading else None,
    )


def refusal(
    at: Instant = NOW, *, credentials_hash: bytes = b"hash", pause: float = 300.0
) -> Failure:
    """Refused credentials."""
    kind = FailureKind.REFUSED
    return failure(at, kind=kind, pause=pause, credentials_hash=credentials_hash)


SALT = b"0123456789abcdef"


def held(token: Token) -> Entry:
    """The entry after a grant."""
    return Entry.of_token(token)


def refused(now: Instant, credentials_hash: bytes = b"hash", *, pause: float = 300.0) -> Entry:
    """The entry after a refusal."""
    failed = refusal(now, credentials_hash=credentials_hash, pause=pause)
    return Entry.of_failure(failed, SALT)


def attributes_of(error: TokenError) -> object:
    """All attributes of an error, for comparison: exceptions compare by identity."""
    return type(error), str(error), vars(error)


def content(entry: Entry) -> object:
    """All attributes of an entry, for comparison, including those that `==` ignores."""
    reading = entry.token and entry.token.issued_boot
    return entry, reading, [(each.at_boot, attributes_of(each.error)) for each in entry.failures]


def timeless(entry: Entry) -> Entry:
    """`entry` without its times, which a store may move by what an answer of its medium takes."""
    token = entry.token and replace(entry.token, issued_at=0.0, expires_at=0.0)
    failures = tuple(replace(each, at=0.0, until=0.0) for each in entry.failures)
    return replace(entry, token=token, failures=failures)


def times(entry: Entry) -> list[float]:
    """All times in `entry`."""
    token = [] if entry.token is None else [entry.token.issued_at, entry.token.expires_at]
    return token + [moment for each in entry.failures for moment in (each.at, each.until)]


def readings(entry: Entry) -> list[float | None]:
    """All its times on the clock since boot."""
    token = [] if entry.token is None else [entry.token.issued_boot]
    return token + [each.at_boot for each in entry.failures]


def undated(entry: Entry) -> Entry:
    """`entry` without its times on the clock since boot."""
    token = entry.token and replace(entry.token, issued_boot=None)
    return replace(
        entry, token=token, failures=tuple(replace(each, at_boot=None) for each in entry.failures)
    )


def assert_same(found: Entry | None, expected: Entry) -> None:
    """Check that `found` equals `expected`, with times within five seconds.

    A store may add times on the clock since boot that `expected` does not have.
    """
    assert found is not None
    assert content(undated(timeless(found))) == content(undated(timeless(expected)))
    assert times(found) == pytest.approx(times(expected), abs=5.0)
    for reading, wanted in zip(readings(found), readings(expected), strict=True):
        assert wanted is None or reading == pytest.approx(wanted, abs=5.0)


def token_in(store: TokenStore, key: TokenKey = KEY) -> str | None:
    """The value of the token that `store` holds."""
    entry = store.load(key)
    return None if entry is None or entry.token is None else entry.token.value
