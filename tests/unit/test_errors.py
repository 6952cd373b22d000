"""What can go wrong: one family, with all that a handler needs and nothing that it must not see."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest
import requests
from hypothesis import given

from evertoken import (
    GrantRefused,
    GrantUnavailable,
    InsecureURL,
    InvalidTokenResponse,
    RefreshTimeout,
    RevocationFailed,
    TokenError,
)
from support.strategies import TRIES, token_errors
from support.values import pickled, told

KINDS: list[type[TokenError]] = [
    TokenError,
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    RefreshTimeout,
    RevocationFailed,
    InsecureURL,
]


def whole(kind: type[TokenError]) -> TokenError:
    return kind(
        "it happened: do this",
        status=400,
        content_type="application/json",
        error="invalid_grant",
        description="Invalid credentials given.",
        retry_after=7.5,
        transient=True,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_for_failed_requests_sees_every_kind(kind: type[TokenError]) -> None:
    with pytest.raises(requests.RequestException, match="it happened"):
        raise whole(kind)
    assert issubclass(kind, OSError)


def test_a_timeout_is_one_to_the_language_and_an_insecure_url_a_bad_value() -> None:
    for kind in KINDS:
        assert issubclass(kind, TimeoutError) is (kind is RefreshTimeout)
        assert issubclass(kind, ValueError) is (kind is InsecureURL)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_said_that_is_not_known(kind: type[TokenError]) -> None:
    error = kind("it happened")
    assert str(error) == "it happened"
    assert error.args == ("it happened",)
    known = (error.status, error.content_type, error.error, error.description, error.retry_after)
    assert known == (None,) * 5
    assert error.transient is False
    assert error.request is None
    assert error.response is None
    assert error.errno is None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_pickles_whole(kind: type[TokenError], protocol: int) -> None:
    error = whole(kind)
    assert told(pickled(error, protocol)) == told(error)


@TRIES
@given(token_errors())
def test_any_error_pickles_and_copies_whole(error: TokenError) -> None:
    for again in (pickled(error), copy.copy(error), error.again()):
        assert told(again) == told(error)
        assert again is not error


class Particular(GrantRefused):
    """A kind of a user's own, with a constructor of its own."""

    def __init__(self, account: int) -> None:
        super().__init__(f"account {account} is locked", status=423)
        self.account = account


def test_a_kind_of_ones_own_is_made_again_without_its_constructor() -> None:
    for again in (Particular(7).again(), pickled(Particular(7))):
        assert type(again) is Particular
        assert (again.account, again.status, str(again)) == (7, 423, "account 7 is locked")


def leak() -> None:
    """Raise an error whose cause and context quote a password."""
    try:
        int("planted-password")
    except ValueError as cause:
        raise whole(GrantRefused) from cause


def test_again_nothing_hangs_on_it_that_could_hold_a_secret() -> None:  # S46
    with pytest.raises(GrantRefused) as caught:
        leak()
    error = caught.value
    assert "planted-password" in "".join(traceback.format_exception(error))
    again = error.again()
    assert told(again) == told(error)
    assert again.__traceback__ is None
    assert again.__cause__ is None
    assert again.__context__ is None
    assert "planted-password" not in "".join(traceback.format_exception(again))
