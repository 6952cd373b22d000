"""Errors raised inside `requests`: they belong to both families, and equal the plain ones."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

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
    requests_errors,
)
from evertoken.errors import capture
from evertoken.requests_errors import for_requests
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

DETAILS: dict[str, object] = {
    "status": 400,
    "content_type": "application/json",
    "error": "invalid_grant",
    "description": "Invalid credentials given.",
    "retry_after": 7.5,
    "transient": True,
    # an attribute set by a later version, or by a user
    "account": "agent-7",
}


def plain(kind: type[TokenError] = GrantRefused) -> TokenError:
    error = kind("it happened: do this")
    vars(error).update(DETAILS)
    error.add_note("seen at the edge")
    return error


def details(error: TokenError) -> dict[str, object]:
    """The attributes of an error, without those of `requests`."""
    return {n: it for n, it in vars(error).items() if n not in {"request", "response"}}


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_caught_as_its_kind_and_as_an_exception_of_requests(
    kind: type[TokenError],
) -> None:
    for family in (kind, TokenError, requests.RequestException, OSError, *kind.__bases__):
        with pytest.raises(family, match=r"^it happened: do this"):
            raise for_requests(plain(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_has_the_message_and_attributes_of_the_plain_one(kind: type[TokenError]) -> None:
    error, expected = for_requests(plain(kind)), plain(kind)
    assert details(error) == vars(expected)
    assert (str(error), repr(error), error.args) == (str(expected), repr(expected), expected.args)
    assert type(error).__name__ == type(error).__qualname__ == kind.__name__
    assert type(error).__doc__ == kind.__doc__
    assert traceback.format_exception_only(error) == [
        f"evertoken.requests_errors.{kind.__name__}: it happened: do this\n",
        "seen at the edge\n",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_holds_no_request_and_no_context(kind: type[TokenError]) -> None:  # S46
    try:
        int("planted-password")
    except ValueError as cause:
        source = plain(kind)
        source.__cause__ = source.__context__ = cause
    error = for_requests(source)
    assert isinstance(error, requests.RequestException)
    assert [error.request, error.response] == [None, None]
    assert [error.__traceback__, error.__cause__, error.__context__] == [None] * 3


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_pickles_whole(kind: type[TokenError], protocol: int) -> None:
    error = for_requests(plain(kind))
    again = pickled(error, protocol)
    assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
    assert details(again) == details(error) == vars(plain(kind))


@TRIES
@given(token_errors())
def test_any_error_pickles_and_copies_whole(error: TokenError) -> None:
    joined = for_requests(error)
    for again in (pickled(joined), copy.copy(joined), copy.deepcopy(joined)):
        assert attributes_of(again) == attributes_of(joined)
        assert details(again) == vars(error)
        assert again is not joined


def test_an_error_unpickles_in_a_process_that_has_loaded_nothing() -> None:
    program = """
import pickle, sys
error = pickle.load(sys.stdin.buffer)
import requests, evertoken
assert isinstance(error, requests.RequestException)
assert isinstance(error, evertoken.RefreshTimeout)
print(error, error.status, error.account, error.__notes__)
"""
    done = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-c", program],
        input=pickle.dumps(for_requests(plain(RefreshTimeout))),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.decode() == "it happened: do this 400 agent-7 ['seen at the edge']\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_class_of_an_error_pickles_by_its_name(kind: type[TokenError]) -> None:
    joined = type(for_requests(plain(kind)))
    assert getattr(requests_errors, kind.__name__) is joined
    assert pickled(joined) is joined


@pytest.mark.parametrize("name", ["GrantRefuse", "capture", "TypeVar"])
def test_no_other_name_is_a_class_of_errors(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(requests_errors, name)


def test_a_request_set_on_an_error_is_not_pickled() -> None:  # S46
    error = for_requests(plain())
    error.request = "POST with a password"  # type: ignore[attr-defined]  # as requests has it
    for again in (pickled(error), copy.copy(error), for_requests(error), error.again()):
        assert getattr(again, "request", None) is None


@pytest.mark.parametrize("kind", KINDS)
def test_again_returns_a_plain_error(kind: type[TokenError]) -> None:
    error = for_requests(plain(kind))
    assert attributes_of(error.again()) == attributes_of(plain(kind))

    def call() -> None:
        raise error

    # like a password callable that calls an API with its own `auth=`
    assert attributes_of(capture(call)) == attributes_of(plain(kind))


def test_an_error_that_leaves_requests_twice_is_joined_once() -> None:
    once = for_requests(plain())
    twice = for_requests(once)
    assert type(twice) is type(once)
    assert attributes_of(twice) == attributes_of(once)


class Particular(GrantRefused):
    """A custom error with its own constructor."""

    def __init__(self, account: int) -> None:
        super().__init__(f"account {account} is locked", status=423)
        self.account = account


def test_a_custom_kind_is_joined_without_its_constructor() -> None:
    for error in (for_requests(Particular(7)), pickled(for_requests(Particular(7)))):
        assert isinstance(error, Particular)
        assert isinstance(error, requests.RequestException)
        assert (error.account, error.status, str(error)) == (7, 423, "account 7 is locked")


class Slotted(GrantRefused):
    """Its layout conflicts with that of OSError."""

    __slots__ = ("account",)


class Missing(GrantRefused, AttributeError):
    """Its layout conflicts too."""


@pytest.mark.parametrize("kind", [Slotted, Missing])
def test_a_kind_that_cannot_be_joined_is_replaced_by_the_next_base_that_can(
    kind: type[TokenError],
) -> None:
    error = for_requests(plain(kind))
    assert type(error) is type(for_requests(plain(GrantRefused)))
    assert details(error) == vars(plain(kind))


def test_threads_that_need_a_kind_at_once_get_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    made = requests_errors.FAMILY._subclass
    together = threading.Barrier(2)

    def both(kind: type[TokenError]) -> type[TokenError]:
        together.wait(20)
        return made(kind)

    class Locked(GrantRefused):
        """A kind that no other test uses."""

    monkeypatch.setattr(requests_errors.FAMILY, "_subclass", both)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(for_requests, [Locked("a"), Locked("b")])
    assert type(first) is type(second)
