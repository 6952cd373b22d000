"""A token and its identity: immutable values whose `repr` shows no secret."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertoken import TokenKey as OldKey
from evertoken.core.instant import LONG_AGO, Instant
from evertoken.core.token import LONGEST_LIFETIME, Token, TokenKey
from support.core_values import HOUR, KEY, NOW, PLANTED, ago, issued, tokens

texts = st.text(max_size=8)


def test_no_secret_shows_in_a_repr() -> None:  # S46
    token = issued(refresh_token="planted-refresh-token")
    assert "planted" not in f"{token!r} {token} {[token]}"


def test_a_token_copies_as_itself_and_does_not_pickle() -> None:
    token = issued()
    assert copy.copy(token) is token
    assert copy.deepcopy([token])[0] is token
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(token)


def test_a_token_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(issued(), "value", "other")  # noqa: B010  mypy would object to the assignment


def test_a_token_made_by_a_user_has_no_generation() -> None:
    assert Token("value", 0.0, 10.0).generation == 0
    assert Token("value", 0.0, 10.0).lifetime == 10


@given(texts, texts, st.none() | texts, st.none() | texts)
def test_the_digest_of_an_identity_without_extra_is_the_one_that_files_have_today(
    url: str, client: str, username: str | None, scope: str | None
) -> None:
    old = OldKey(url, client, username, scope)
    assert TokenKey(url, client, username, scope).digest() == old.digest()


def test_the_digest_of_an_identity_is_the_same_in_every_process_and_version() -> None:
    assert KEY.digest() == "8f1195c8954fd78c012ee65a22f249c4"
    audience = replace(KEY, extra=(("audience", "a"),))
    assert audience.digest() == AUDIENCE_DIGEST


AUDIENCE_DIGEST = "98478bcbb56245c8db7d091b5af04f7a"


def test_each_extra_parameter_changes_the_identity() -> None:  # S49
    extras: list[tuple[tuple[str, str], ...]] = [
        (),
        (("audience", "a"),),
        (("audience", "b"),),
        (("resource", "a"),),
        (("audience", "a"), ("resource", "a")),
    ]
    assert len({replace(KEY, extra=extra).digest() for extra in extras}) == len(extras)


def test_the_order_of_extra_parameters_does_not_change_the_identity() -> None:
    one, other = (("a", "1"), ("b", "2")), (("b", "2"), ("a", "1"))
    assert replace(KEY, extra=one) == replace(KEY, extra=other)


def test_the_subject_of_an_identity_is_its_user() -> None:
    assert KEY.subject == "agent-7"


def test_two_tokens_have_different_digests() -> None:
    assert issued().digest() != issued(value="other").digest()
    assert len(issued().digest()) == 16
    assert PLANTED not in issued().digest()


# -- order -----------------------------------------------------------------------------------------


@given(tokens, tokens)
def test_only_copies_of_one_token_are_equal_in_order(one: Token, other: Token) -> None:
    same = one == other and one.issued_boot == other.issued_boot
    assert (one.order == other.order) is same


def test_a_token_sorts_before_a_newer_one_and_before_a_copy_that_expires_earlier() -> None:
    token = issued()
    assert token.order < replace(token, generation=token.generation + 1).order
    assert token.order < replace(token, value=token.value + "b").order
    assert token.order < replace(token, expires_at=token.expires_at - 1).order
    assert token.order < replace(token, issued_boot=ago(1).boot).order


def test_a_newer_generation_wins_over_a_later_date() -> None:
    assert issued(ago(60), generation=2).order > issued(NOW, generation=1).order


def test_a_copy_without_a_boot_time_is_replaced_by_the_original() -> None:
    assert issued(reading=False).order < issued().order


# -- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "plausible"),
    [
        (issued(), True),
        (issued(ago(-60)), True),
        (issued(ago(-61)), False),
        (issued(ago(-61), reading=False), False),
        (replace(issued(), issued_boot=NOW.boot + 61), False),
        (issued(lifetime=LONGEST_LIFETIME), True),
        (issued(lifetime=LONGEST_LIFETIME + 1), False),
        (issued(lifetime=0), True),
        (issued(lifetime=-1), False),
    ],
)
def test_a_token_is_plausible(token: Token, plausible: bool) -> None:  # noqa: FBT001
    assert token.plausible(NOW) is plausible


def test_issued_since_is_decided_by_the_clock_since_boot() -> None:
    start = NOW
    assert issued(NOW).issued_since(start)
    assert not issued(ago(1)).issued_since(start)
    assert not replace(issued(ago(1)), issued_at=NOW.wall + HOUR).issued_since(start)
    assert issued(NOW, reading=False).issued_since(start)
    assert not issued(ago(1), reading=False).issued_since(start)


def test_a_moment_is_reached_when_either_clock_has_reached_it() -> None:
    assert NOW.reached(Instant(NOW.wall, 0.0))
    assert NOW.reached(Instant(0.0, NOW.boot))
    assert not NOW.after(1).reached(NOW)
    assert LONG_AGO.reached(Instant(0.0, 0.0))
    assert NOW.after(5).left(Instant(NOW.wall + 3, NOW.boot)) == 2
    assert NOW.earlier(Instant(0.0, NOW.boot + 1)) == Instant(0.0, NOW.boot)
