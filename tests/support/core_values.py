"""A fixed moment `NOW`, and values of the core relative to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from evertoken.core.entry import Entry, normalised
from evertoken.core.failure import Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.login import Initial, Login
from evertoken.core.token import Token
from evertoken.errors import GrantRefused, GrantUnavailable

# isort: off
from evertoken.testing.entries import (
    DAY as DAY,
    GENERATION as GENERATION,
    HOUR as HOUR,
    KEY as KEY,
    NOW as NOW,
    PLANTED as PLANTED,
    error_of as error_of,
    failure as failure,
    issued as issued,
    refusal as refusal,
)
# isort: on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evertoken.core.instant import Instant


def ago(seconds: float) -> Instant:
    """`seconds` before `NOW`, on both clocks."""
    return NOW.after(-seconds)


# Small ranges, so that generations, hashes, salts and times collide. Each value is drawn as one
# number, which is ten times as fast as one draw per field.

_ERRORS = (GrantRefused("no"), GrantUnavailable("down"), GrantUnavailable("off"))
_READINGS = (None, 1.0, 2.0)


def _choices(number: int, *options: Sequence[Any]) -> list[Any]:
    """One value from each of the options, chosen by the digits of `number`."""
    chosen = []
    for each in options:
        number, digit = divmod(number, len(each))
        chosen.append(each[digit])
    return chosen


def _token(number: int) -> Token:
    fields = "ab", (0.0, 50.0), (50.0, 60.0), (None, "", "s"), (None, "", "r"), _READINGS, range(5)
    return Token(*_choices(number, *fields))


def _failure(number: int) -> Failure:
    kind, error, count, reading, at, generation, credentials = _choices(
        number, list(FailureKind), _ERRORS, range(3), _READINGS, (0.0, 50.0), range(13), range(10)
    )
    return Failure(
        kind=kind,
        at=at,
        until=50.0,
        error=error,
        count=count,
        generation=generation,
        credentials_hash=bytes([credentials]),
        at_boot=reading,
    )


def _login(number: int) -> Login:
    refresh_token, generation, being_spent, used, first, end = _choices(
        number, (None, "", "r"), range(5), (False, True), range(10), range(10), (None, 0.0, 50.0)
    )
    initials = [Initial((first + each) % 5, "abcdefghij"[each]) for each in range(used)]
    return Login(refresh_token, generation, being_spent, tuple(initials), end)


generations = st.integers(0, 4)
tokens = st.integers(0, 2 * 2 * 2 * 3 * 3 * 3 * 5 - 1).map(_token)
failures = st.integers(0, 3 * 3 * 3 * 3 * 2 * 13 * 10 - 1).map(_failure)
logins = st.integers(0, 3 * 5 * 2 * 10 * 10 * 3 - 1).map(_login)
entries = st.builds(
    Entry,
    token=st.none() | tokens,
    login=st.none() | logins,
    revoked_through=st.integers(-1, 4),
    failures=st.lists(failures, max_size=11).map(tuple),
    salt=st.sampled_from([b"", b"s", b"t"]),
).map(normalised)
