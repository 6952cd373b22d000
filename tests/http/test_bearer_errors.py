"""Errors raised inside `requests` are its exceptions too; those of the manager are plain."""

from __future__ import annotations

import contextlib
import gc
import re
import traceback
import weakref
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import (
    BearerAuth,
    FileStore,
    GrantRefused,
    GrantUnavailable,
    InsecureURL,
    InvalidTokenResponse,
    RefreshTimeout,
    RevocationFailed,
    TokenError,
)
from evertoken.events import RenewalFailed, TokenRefused
from support.fleet import CountingGrant, held, sibling
from support.http_clients import WAIT, grant_of, manager_of
from support.planted import PASSWORD, SCANNER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evertoken import TokenManager
    from evertoken.events import Event
    from evertoken.testing import TokenServer

URL = "https://api.example/leads/7/"
"""An API that gets no request: all calls fail before that."""

KINDS: list[type[TokenError]] = [
    TokenError,
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    RefreshTimeout,
    RevocationFailed,
    InsecureURL,
]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def failing(kind: type[TokenError], *, status: int | None = None) -> CountingGrant:
    """A grant that raises this error at every request."""
    grant = CountingGrant()
    grant.failure = kind("it happened", status=status, error="invalid_grant")
    return grant


def auth_of(manager: TokenManager) -> BearerAuth:
    return BearerAuth(manager, origins=[URL])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_caught_as_an_error_of_either_library(
    session: requests.Session, kind: type[TokenError]
) -> None:
    grant = failing(kind, status=400)
    session.auth = auth_of(sibling(grant))
    said = f"{grant.key.client_id} at {grant.key.token_url}: it happened"
    # the second error is remembered
    for family, ending in ((requests.RequestException, ""), (kind, r" \(remembered since .*\)")):
        with pytest.raises(family, match=f"^{re.escape(said)}{ending}$") as caught:
            session.get(URL, timeout=WAIT)
        error = caught.value
        assert isinstance(error, kind)
        assert isinstance(error, requests.RequestException)
        assert (error.status, error.error) == (400, "invalid_grant")
        assert type(error).__name__ == kind.__name__


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_references_nothing_that_could_hold_a_secret(  # S46
    session: requests.Session, kind: type[TokenError]
) -> None:
    session.auth = auth_of(sibling(failing(kind)))
    with pytest.raises(requests.RequestException) as caught:
        session.get(URL, timeout=WAIT)
    error = caught.value
    assert [error.__cause__, error.__context__, error.request, error.response] == [None] * 4


def test_the_error_of_a_leaking_callable_shows_no_secret(  # S46
    session: requests.Session, token_server: TokenServer
) -> None:
    def leaky() -> str:
        raise LookupError(f"the vault said {PASSWORD}")

    manager = manager_of(token_server, grant=grant_of(token_server, password=leaky))
    session.auth = BearerAuth(manager)
    with pytest.raises(requests.RequestException, match="LookupError") as caught:
        session.get(token_server.api_url, timeout=WAIT)
    shown = "".join(traceback.format_exception(caught.value))
    assert SCANNER.found_on(caught.value) == []
    assert PASSWORD not in shown


@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_a_manager_are_plain_when_raised_remembered_and_reported(
    session: requests.Session, kind: type[TokenError]
) -> None:
    events: list[Event] = []
    manager = sibling(failing(kind), on_event=events.append)
    # by then an error for `requests` has been made from the same one
    with pytest.raises(requests.RequestException):
        session.get(URL, auth=auth_of(manager), timeout=WAIT)
    for call in (manager.token, manager.header, manager.refresh):
        with pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind
    assert type(manager.status().last_error) is kind
    told = [event.error for event in events if isinstance(event, RenewalFailed | TokenRefused)]
    assert told
    assert {type(error) for error in told} == {kind}


def test_a_callers_own_timeout_is_caught_as_one_of_requests(session: requests.Session) -> None:
    grant = CountingGrant()
    manager = sibling(grant, timeout=0.05)
    session.auth = auth_of(manager)
    with held(grant):
        with pytest.raises(requests.RequestException) as caught:
            session.get(URL, timeout=WAIT)
        assert isinstance(caught.value, RefreshTimeout)
        assert isinstance(caught.value, TimeoutError)
        with pytest.raises(RefreshTimeout) as plain:
            manager.token()
        assert type(plain.value) is RefreshTimeout


def test_a_request_that_already_has_a_header_fails_in_the_same_way() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    auth = auth_of(manager)
    request = auth(requests.Request("GET", URL).prepare())
    grant.failure = GrantRefused("it happened")
    manager.invalidate(manager.token())
    with pytest.raises(requests.RequestException, match="it happened") as caught:
        auth(request)
    assert isinstance(caught.value, GrantRefused)


def test_a_failure_that_a_sibling_saved_fails_in_the_same_way(
    session: requests.Session, tmp_path: Path
) -> None:
    grant = failing(GrantRefused)
    with pytest.raises(GrantRefused):
        sibling(grant, tmp_path).token()
    session.auth = auth_of(sibling(grant, tmp_path))
    with pytest.raises(requests.RequestException, match="it happened") as caught:
        session.get(URL, timeout=WAIT)
    assert isinstance(caught.value, GrantRefused)
    assert grant.requests == 1


def test_an_error_of_another_auth_inside_a_password_callable_is_raised_plain(
    session: requests.Session, token_server: TokenServer, tmp_path: Path
) -> None:
    vault = auth_of(sibling(failing(GrantRefused)))

    def password() -> str:
        return session.get(URL, auth=vault, timeout=WAIT).text

    manager = manager_of(
        token_server, grant=grant_of(token_server, password=password), store=FileStore(tmp_path)
    )
    with pytest.raises(GrantRefused, match="it happened") as caught:
        manager.token()
    assert type(caught.value) is GrantRefused
    assert caught.value.__context__ is None


def test_a_wrong_argument_does_not_raise_a_request_exception(token_server: TokenServer) -> None:
    with pytest.raises(InsecureURL) as caught:
        BearerAuth(manager_of(token_server), origins=["http://api.example"])
    assert type(caught.value) is InsecureURL


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Disable the garbage collector, so that reference cycles stay."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_request_is_freed_once_its_error_was_handled() -> None:
    auth = auth_of(sibling(failing(GrantRefused)))
    with no_collection():
        request = requests.Request("GET", URL).prepare()
        left = weakref.ref(request)
        with contextlib.suppress(requests.RequestException):
            auth(request)
        del request
        assert left() is None
