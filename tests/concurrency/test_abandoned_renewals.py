"""A renewal that cannot end is abandoned; any exception of a callable becomes a typed error."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from evertoken import GrantUnavailable, RefreshTimeout, Token, TokenError
from support.fleet import CountingGrant, eventually, held, in_threads, sibling
from support.http_clients import WAIT, grant_of, manager_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evertoken import TokenManager
    from evertoken.testing import TokenServer

DEADLINE = 0.3
STEP = DEADLINE + 1.0
"""Seconds after which a step of a renewal is assumed to hang."""


class Hanging:
    """A credential whose first reads hang until the end of the test."""

    def __init__(self, value: str, times: float) -> None:
        self.value = value
        self.times = times
        self.readings = 0
        self.end = threading.Event()

    def __call__(self) -> str:
        self.readings += 1
        if self.readings <= self.times:
            self.end.wait(60)
        return self.value


@pytest.fixture
def hanging(token_server: TokenServer) -> Iterator[Callable[[float], Hanging]]:
    made: list[Hanging] = []

    def make(times: float) -> Hanging:
        made.append(Hanging(token_server.password, times))
        return made[-1]

    yield make
    for each in made:
        each.end.set()


def asking(server: TokenServer, password: Hanging) -> TokenManager:
    """A manager that reads its password from this callable."""
    return manager_of(server, grant=grant_of(server, password=password, deadline=DEADLINE))


def test_the_next_caller_starts_afresh_after_the_deadline(  # F31
    token_server: TokenServer, hanging: Callable[[float], Hanging]
) -> None:
    password = hanging(1)
    manager = asking(token_server, password)
    with pytest.raises(RefreshTimeout):
        manager.token(timeout=0.1)
    assert manager.token(timeout=WAIT).value in token_server.secrets
    assert password.readings == 2
    assert token_server.token_requests == 1


def test_callers_of_an_abandoned_renewal_share_the_next_one(  # F31
    token_server: TokenServer, hanging: Callable[[float], Hanging]
) -> None:
    password = hanging(1)
    manager = asking(token_server, password)
    tokens = in_threads(8, manager.token)
    assert len(set(map(repr, tokens))) == 1
    assert isinstance(tokens[0], Token)
    assert password.readings == 2
    assert token_server.token_requests == 1


def test_a_callable_that_always_hangs_holds_one_thread_per_deadline(  # F31
    token_server: TokenServer, hanging: Callable[[float], Hanging]
) -> None:
    password = hanging(float("inf"))
    manager = asking(token_server, password)
    started = time.monotonic()
    while password.readings < 3:
        with pytest.raises(RefreshTimeout):
            manager.token(timeout=0.2)
        with pytest.raises(RefreshTimeout):
            manager.refresh(timeout=0.2)
    assert password.readings <= (time.monotonic() - started) / STEP + 1


def test_the_token_of_an_abandoned_renewal_replaces_no_newer_one() -> None:  # F31
    grant = CountingGrant()
    grant.deadline = DEADLINE  # type: ignore[attr-defined]  # as a grant with a deadline has it
    manager = sibling(grant)
    with held(grant):
        with pytest.raises(RefreshTimeout):
            manager.token(timeout=0.1)
        eventually(lambda: grant.requests == 1)
        first = grant.gate
        grant.gate = threading.Event()
        grant.gate.set()
        later = manager.token()
        assert grant.requests == 2
        first.set()
        eventually(lambda: not manager.status().renewing)
    assert manager.token() == later


class Panic(BaseException):
    """An exception like that of a panicking Rust library."""


@pytest.mark.parametrize("kind", [Panic, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
@pytest.mark.parametrize("where", ["password", "request"])
def test_any_exception_of_a_renewal_becomes_a_typed_error(  # F31
    token_server: TokenServer,
    kind: type[BaseException],
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[None] = []
    tracebacks: list[object] = []
    monkeypatch.setattr(threading, "excepthook", tracebacks.append)

    def fail() -> str:
        asked.append(None)
        raise kind("the vault said: planted-secret")

    if where == "password":
        manager = manager_of(token_server, grant=grant_of(token_server, password=fail))
    else:
        grant = CountingGrant()
        grant.request = fail  # type: ignore[method-assign, assignment]  # a user's own grant
        manager = sibling(grant)
    for _ in range(3):
        with pytest.raises(TokenError, match=kind.__name__) as caught:
            manager.token(timeout=3)
        assert isinstance(caught.value, GrantUnavailable)
        assert caught.value.local
    # a first renewal tries three times, then the back-off applies
    assert 1 <= len(asked) <= 3
    assert tracebacks == []
    assert "planted-secret" not in caplog.text
