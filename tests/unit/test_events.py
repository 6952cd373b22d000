"""Events and their listeners."""

from __future__ import annotations

import logging
from dataclasses import FrozenInstanceError, replace

import pytest

from evertoken import GrantRefused, GrantUnavailable
from evertoken.events import (
    Event,
    LoginEnding,
    RejectedAgain,
    RenewalFailed,
    Replayed,
    StoreDegraded,
    StoreRecovered,
    TokenRefused,
    TokenRenewed,
    TokenRevoked,
    emit,
)
from evertoken.runtime import reports, threads

EVENTS: list[Event] = [
    TokenRenewed("grant", 0.5, 3600.0, 1_700_003_600.0),
    RenewalFailed(GrantUnavailable("down"), 1_700_000_001.0),
    TokenRefused(GrantRefused("refused"), 1_700_000_300.0),
    TokenRevoked(confirmed=True),
    Replayed(401),
    RejectedAgain("the API refused a second token"),
    StoreDegraded("file", "the disk is full"),
    StoreRecovered("file", 12.5),
    LoginEnding(1_700_000_000.0),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_listener_gets_the_event(event: Event) -> None:
    heard: list[Event] = []
    emit(heard.append, event)
    reports.catch_up(5.0)
    assert heard == [event]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_never_changes(event: Event) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(event, event.__slots__[0], None)


def test_a_listener_is_optional(caplog: pytest.LogCaptureFixture) -> None:
    emit(None, EVENTS[0])
    assert not caplog.records


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), GrantUnavailable("of its own"), SystemExit(1)]
)
def test_an_exception_in_a_listener_is_logged_and_not_raised(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def listen(_event: Event) -> None:
        raise error

    emit(listen, replace(EVENTS[0], account="ann", token_url="https://id.example/"))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("evertoken", logging.ERROR)
    assert record.getMessage() == "on_event raised for TokenRenewed of ann at https://id.example/"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_ctrl_c_in_a_listener_is_not_swallowed_without_threads(  # F5
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listen(_event: Event) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "can_run", lambda: False)
    emit(listen, EVENTS[0])
    with pytest.raises(KeyboardInterrupt):
        reports.report_here()
