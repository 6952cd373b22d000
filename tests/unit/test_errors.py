"""The errors: one family, with everything that a handler needs and without secrets."""

from __future__ import annotations

import copy
import gc
import pickle
import traceback
import weakref

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
from evertoken.errors import capture, discreet
from support.strategies import TRIES, token_errors
from support.values import attributes_of, pickled

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
def test_a_plain_error_is_not_an_exception_of_an_http_client(kind: type[TokenError]) -> None:
    assert not issubclass(kind, requests.RequestException)
    # a timeout is a TimeoutError, which is an OSError
    assert issubclass(kind, OSError) is (kind is RefreshTimeout)


def test_a_timeout_is_a_timeout_error_and_an_insecure_url_a_value_error() -> None:
    for kind in KINDS:
        assert issubclass(kind, TimeoutError) is (kind is RefreshTimeout)
        assert issubclass(kind, ValueError) is (kind is InsecureURL)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_attributes_are_none(kind: type[TokenError]) -> None:
    error = kind("it happened")
    assert str(error) == "it happened"
    assert error.args == ("it happened",)
    known = (error.status, error.content_type, error.error, error.description, error.retry_after)
    assert known == (None,) * 5
    assert error.transient is False


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_pickles_whole(kind: type[TokenError], protocol: int) -> None:
    error = whole(kind)
    assert attributes_of(pickled(error, protocol)) == attributes_of(error)


@TRIES
@given(token_errors())
def test_any_error_pickles_and_copies_whole(error: TokenError) -> None:
    for again in (pickled(error), copy.copy(error), error.again()):
        assert attributes_of(again) == attributes_of(error)
        assert again is not error


class Particular(GrantRefused):
    """A custom error with its own constructor."""

    def __init__(self, account: int) -> None:
        super().__init__(f"account {account} is locked", status=423)
        self.account = account


def test_a_custom_kind_is_rebuilt_without_its_constructor() -> None:
    for again in (Particular(7).again(), pickled(Particular(7))):
        assert type(again) is Particular
        assert (again.account, again.status, str(again)) == (7, 423, "account 7 is locked")


class BadSetting(InsecureURL, OSError):
    """A custom error whose first built-in base does not determine its memory layout."""


def test_a_kind_with_several_built_in_bases_is_rebuilt() -> None:
    error = BadSetting("no https", status=400)
    for again in (error.again(), pickled(error), copy.copy(error)):
        assert attributes_of(again) == attributes_of(error)


def leak() -> None:
    """Raise an error whose cause and context quote a password."""
    try:
        int("planted-password")
    except ValueError as cause:
        raise whole(GrantRefused) from cause


def test_again_returns_an_error_that_references_no_secret() -> None:  # S46
    with pytest.raises(GrantRefused) as caught:
        leak()
    error = caught.value
    assert "planted-password" in "".join(traceback.format_exception(error))
    again = error.again()
    assert attributes_of(again) == attributes_of(error)
    assert again.__traceback__ is None
    assert again.__cause__ is None
    assert again.__context__ is None
    assert "planted-password" not in "".join(traceback.format_exception(again))


def test_capture_returns_what_a_call_returns() -> None:
    assert capture(lambda: 7) == 7


def test_a_captured_error_references_nothing_that_could_hold_a_secret() -> None:  # S46
    error = capture(leak)
    assert error is not None
    assert attributes_of(error) == attributes_of(whole(GrantRefused))
    assert [error.__traceback__, error.__cause__, error.__context__] == [None] * 3


class Form:
    """Holds a password during a request."""


def test_objects_held_by_a_captured_call_are_freed_at_once() -> None:  # S46
    left = []

    def call() -> None:
        form = Form()
        left.append(weakref.ref(form))
        leak()

    gc.disable()
    try:
        capture(call)
        assert left[0]() is None
    finally:
        gc.enable()


def test_a_discreet_call_raises_what_it_raised_without_its_frames_cause_and_context() -> None:
    @discreet
    def call(_form: Form) -> None:
        leak()

    with pytest.raises(GrantRefused) as caught:
        call(Form())
    assert attributes_of(caught.value) == attributes_of(whole(GrantRefused))
    assert [caught.value.__cause__, caught.value.__context__] == [None] * 2
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert len(frames) == 1
    assert not any(isinstance(it, Form | dict | tuple) for it in frames[0].f_locals.values())


def test_the_error_of_a_discreet_call_is_freed_at_once() -> None:
    left = []
    gc.disable()
    try:
        try:
            discreet(leak)()
        except GrantRefused as error:
            left.append(weakref.ref(error))
        assert left[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [LookupError, SystemExit])
def test_any_other_error_is_captured_only_by_its_type(kind: type[BaseException]) -> None:  # S46
    def fail() -> None:
        raise kind("planted-password")

    error = capture(fail)
    assert type(error) is GrantUnavailable
    assert str(error) == f"the renewal failed: {kind.__name__} was raised"
    assert [error.__traceback__, error.__cause__, error.__context__] == [None] * 3
