"""Entries as stores keep them: helpers to compare them, and strategies for storable ones."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from evertoken.core.entry import Entry, normalised
from evertoken.core.failure import LONGEST_WAIT, Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.login import Initial, Login
from evertoken.core.token import LONGEST_LIFETIME, Token
from evertoken.errors import GrantRefused, GrantUnavailable, InvalidTokenResponse, TokenError
from evertoken.stores.fields import HIGHEST_COUNT, HIGHEST_GENERATION, LATEST
from support.core_values import NOW, failure, issued, refusal

# isort: off
from evertoken.testing.entries import (
    SALT as SALT,
    assert_same as assert_same,
    content as content,
    timeless as timeless,
    times as times,
    undated as undated,
    token_in as token_in,
    attributes_of as attributes_of,
)
# isort: on


FULL = normalised(
    Entry(
        token=replace(issued(refresh_token="planted-refresh-token"), scope="read write"),
        login=Login(
            "planted-login", 7, being_spent=True, initials=(Initial(3, "a1"), Initial(5, "b2"))
        ),
        revoked_through=1_600_000_000,
        failures=(
            failure(NOW.after(1)),
            refusal(credentials_hash=b"one"),
            refusal(NOW.after(2), credentials_hash=b"another"),
        ),
        salt=SALT,
    )
)
"""An entry with every field set."""


# -- strategies ------------------------------------------------------------------------------------

_visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
_ascii = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
_hex = st.text(st.sampled_from("0123456789abcdef"), min_size=1, max_size=32)
_words = st.none() | st.text(max_size=200)
_readings = st.none() | st.floats(-(2.0**30), 2.0**30)
generations = st.integers(0, HIGHEST_GENERATION)


@st.composite
def tokens(draw: st.DrawFn) -> Token:
    """Any token that can be stored, at any clock before the year 2242."""
    at = draw(st.floats(0.0, LATEST - LONGEST_LIFETIME))
    return Token(
        value=draw(_visible),
        issued_at=at,
        expires_at=at + draw(st.floats(0.0, LONGEST_LIFETIME)),
        scope=draw(st.none() | _ascii),
        refresh_token=draw(st.none() | _ascii),
        issued_boot=draw(_readings),
        generation=draw(generations),
    )


@st.composite
def errors(draw: st.DrawFn) -> TokenError:
    """An error of a kind that stores keep, with text of any characters."""
    kind = draw(st.sampled_from([GrantRefused, GrantUnavailable, InvalidTokenResponse]))
    return kind(
        draw(st.text(max_size=1200)),
        status=draw(st.none() | st.integers(-5, 2000)),
        content_type=draw(_words),
        error=draw(_words),
        description=draw(_words),
        retry_after=draw(st.none() | st.floats()),
        transient=draw(st.booleans()),
    )


@st.composite
def failures(draw: st.DrawFn) -> Failure:
    """Any failure, including those longer than stores accept."""
    at = draw(st.floats(0.0, LATEST - LONGEST_LIFETIME))
    return Failure(
        kind=draw(st.sampled_from(FailureKind)),
        at=at,
        until=at + draw(st.floats(0.0, 2 * LONGEST_WAIT)),
        error=draw(errors()),
        count=draw(st.integers(0, HIGHEST_COUNT)),
        generation=draw(generations),
        credentials_hash=draw(st.binary(max_size=64)),
        at_boot=draw(_readings),
    )


_logins = st.builds(
    Login,
    refresh_token=st.none() | _ascii,
    generation=generations,
    being_spent=st.booleans(),
    initials=st.lists(st.builds(Initial, generations, _hex), max_size=10).map(tuple),
    expires_at=st.none() | st.floats(0.0, LATEST),
)

entries = st.builds(
    Entry,
    token=st.none() | tokens(),
    login=st.none() | _logins,
    revoked_through=st.integers(-1, HIGHEST_GENERATION),
    failures=st.lists(failures(), max_size=11).map(tuple),
    salt=st.binary(max_size=64),
).map(normalised)
