"""Hypothesis strategies for the values of the pure core, and their settings."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from evertoken import (
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    RefreshPolicy,
    Token,
    TokenError,
    TokenKey,
)
from evertoken.core.instant import Instant
from support.core_values import DAY, HOUR, NOW

TRIES = settings(max_examples=80, deadline=None)
"""Enough examples to find missing cases, and fast on a busy machine."""

texts = st.text(max_size=30)
draws = st.floats(0.0, 1.0, exclude_max=True)
lifetimes = st.sampled_from([0.0, 1.0, 5.0, 300.0, HOUR, 10 * HOUR]) | st.floats(0.0, DAY)
times = st.floats(0.0, 2.0**33)
readings = st.floats(0.0, 2.0**30)


@st.composite
def instants(draw: st.DrawFn) -> Instant:
    """A moment within a day of `NOW`, with independent clocks."""
    return Instant(NOW.wall + draw(st.floats(-DAY, DAY)), NOW.boot + draw(st.floats(-DAY, DAY)))


@st.composite
def tokens_at(draw: st.DrawFn, value: st.SearchStrategy[str] | None = None) -> Token:
    """A token issued within a day of `NOW`, with or without a boot time."""
    at = draw(instants())
    return Token(
        value=draw(value or st.sampled_from("abcde")),
        issued_at=at.wall,
        expires_at=at.wall + draw(lifetimes),
        issued_boot=draw(st.none() | st.just(at.boot)),
    )


@st.composite
def policies(draw: st.DrawFn) -> RefreshPolicy:
    """Any valid policy."""
    pause, cooldown = draw(st.floats(0.0, DAY)), draw(st.floats(0.0, DAY))
    return RefreshPolicy(
        refresh_before=draw(st.floats(0.0, DAY)),
        expiry_margin=draw(st.floats(0.0, DAY)),
        jitter=draw(st.floats(0.0, 1.0)),
        retry_after=pause,
        retry_after_max=pause + draw(st.floats(0.0, DAY)),
        refusal_cooldown=cooldown,
        refusal_cooldown_max=cooldown + draw(st.floats(0.0, DAY)),
        recheck=draw(st.floats(0.0, DAY)),
    )


keys = st.builds(TokenKey, texts, texts, st.none() | texts, st.none() | texts)

tokens = st.builds(
    Token,
    value=texts,
    issued_at=times,
    expires_at=times,
    scope=st.none() | texts,
    refresh_token=st.none() | texts,
    issued_boot=st.none() | readings,
)


@st.composite
def token_errors(draw: st.DrawFn) -> TokenError:
    """An error of a kind that a store keeps."""
    kind = draw(st.sampled_from([GrantRefused, GrantUnavailable, InvalidTokenResponse]))
    return kind(
        draw(texts),
        status=draw(st.none() | st.integers(100, 999)),
        content_type=draw(st.none() | texts),
        error=draw(st.none() | texts),
        description=draw(st.none() | texts),
        retry_after=draw(st.none() | st.floats(0.0, DAY)),
        transient=draw(st.booleans()),
    )
