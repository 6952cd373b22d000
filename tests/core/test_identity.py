"""Identities never share a digest, and no value shows or pickles a secret."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertoken.core.instant import Instant
from evertoken.core.policy import RefreshPolicy
from evertoken.core.token import LONGEST_LIFETIME, Token, TokenKey
from support.core_values import DAY, HOUR, KEY, PLANTED, failure, issued
from support.strategies import TRIES, keys


def test_an_identity_has_no_field_for_a_password() -> None:  # S47
    assert TokenKey.__slots__ == ("token_url", "client_id", "username", "scope", "extra")


@pytest.mark.parametrize(
    ("value", "name"), [(KEY, "username"), (failure(), "until"), (RefreshPolicy(), "jitter")]
)
def test_values_are_immutable(value: object, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, "another")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_token_does_not_pickle_and_names_the_remedy(protocol: int) -> None:  # F7
    for holder in (issued(), [issued()]):
        with pytest.raises(TypeError, match="send the manager instead") as caught:
            pickle.dumps(holder, protocol)
        assert PLANTED not in str(caught.value)


@TRIES
@given(keys)
def test_the_digest_of_any_identity_is_a_plain_file_name(key: TokenKey) -> None:
    assert len(key.digest()) == 32
    assert set(key.digest()) <= set("0123456789abcdef")


def test_the_digest_of_an_identity_is_the_same_under_any_version_of_unicode() -> None:
    named = TokenKey("https://tokens.example/oauth/token/", "client-1", "агент-\U0001fae8")
    assert named.digest() == "778f9a41580650c35a85149e851360ed"


# few identities, so that equal ones occur, built from characters that a repr uses as separators
words = st.text("N',\" ", max_size=2)
extras = st.lists(st.tuples(words, words), max_size=2).map(tuple)
maybe = st.none() | words
confusable = st.builds(TokenKey, words, maybe, maybe, maybe, extras)


@TRIES
@given(confusable, confusable)
def test_two_identities_never_share_a_digest(one: TokenKey, other: TokenKey) -> None:  # S49
    assert (one.digest() == other.digest()) is (one == other)


def test_the_parts_of_an_identity_are_separated_in_its_digest() -> None:  # S49
    crafted = [
        TokenKey("url", "a', 'b", "c"),
        TokenKey("url", "a", "b', 'c"),
        TokenKey("url", "a", "b", "c"),
        TokenKey("url", None, "b", "c"),
        TokenKey("url", "None", "b", "c"),
        TokenKey("url", "", "b", "c"),
        TokenKey("url", "a", None, "None"),
        TokenKey("url", "a", "None", None),
        TokenKey("url", "a", "", None),
        TokenKey("url", "a", None, ""),
        TokenKey("url", "a", None, "', ('extra', (('b', 'c'),))"),
        TokenKey("url", "a", None, "", (("b", "c"),)),
    ]
    assert len({key.digest() for key in crafted}) == len(crafted)


def test_a_token_of_a_year_is_trusted_across_2038_too() -> None:  # F16
    # doubles have half the resolution after 2038, and the sum is rounded up
    asked_at = 2.0**31 - HOUR + 3 * 2.0**-22
    token = Token("value", asked_at, asked_at + LONGEST_LIFETIME)
    assert token.lifetime > LONGEST_LIFETIME
    assert token.plausible(Instant(asked_at, 0.0))
    assert RefreshPolicy().usable(token, Instant(2.0**31 + DAY, 0.0))


def test_boot_times_are_ignored_by_equality() -> None:
    assert issued() == issued(reading=False)
    failed = failure()
    assert failed == replace(failed, at_boot=None)
