"""Link: bounded calls, a circuit that opens at once, and one word about it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest

from evertoken.runtime import clock
from evertoken.stores.link import FIRST_PAUSE, LONGEST_PAUSE, Link, Lost
from support.fleet import BOUND, eventually

if TYPE_CHECKING:
    from collections.abc import Callable


class Refusal(Exception):
    pass


class Clock:
    """The clock since boot, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hands = Clock()
    monkeypatch.setattr(clock, "since_boot", hands)
    monkeypatch.setattr("evertoken.runtime.process.jitter_fraction", lambda: 0.0)
    return hands


@pytest.fixture
def link(caplog: pytest.LogCaptureFixture) -> Link:
    caplog.set_level(logging.INFO)
    return Link("The server", timeout=0.5, refusals=(Refusal,), quotable=(Refusal, OSError))


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise error

    return raise_it


def test_an_answer_comes_through(link: Link) -> None:
    assert link.call("ask", lambda: "answer") == "answer"


def test_pauses_double_up_to_a_cap(link: Link, hands: Clock) -> None:
    pauses = []
    for _ in range(8):
        assert link.call("ask", raising(OSError("down"))) is Lost.UNANSWERED
        since = hands.now
        while link.call("ask", raising(OSError("down"))) is Lost.UNASKED:
            hands.now += 0.5
        pauses.append(hands.now - since)
        hands.now += 2 * LONGEST_PAUSE
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_one_caller_finds_out_whether_it_is_back(link: Link, hands: Clock) -> None:
    link.call("ask", raising(OSError("down")))
    hands.now += FIRST_PAUSE
    assert link.call("probe", lambda: link.call("another", lambda: "asked")) is Lost.UNASKED
    assert link.call("ask", lambda: "answer") == "answer"


def test_an_answer_ends_all_of_it(
    link: Link, hands: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        link.call("ask", raising(OSError("down")))
        hands.now += LONGEST_PAUSE
    assert link.call("ask", lambda: "answer") == "answer"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    link.call("ask", raising(OSError("down")))
    hands.now += FIRST_PAUSE
    assert link.call("ask", lambda: "answer") == "answer"


def test_calls_that_failed_together_count_once(link: Link, hands: Clock) -> None:
    def together() -> NoReturn:
        hands.now += 0.1
        link.call("another", raising(OSError("down")))
        raise OSError("down")

    assert link.call("ask", together) is Lost.UNANSWERED
    hands.now += FIRST_PAUSE
    assert link.call("ask", lambda: "answer") == "answer"


def test_what_hangs_is_left_to_itself(link: Link) -> None:
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait(BOUND)
        ended.set()

    assert link.call("ask", hang) is Lost.UNANSWERED
    assert link.call("ask", lambda: "not asked") is Lost.UNASKED
    release.set()
    eventually(ended.is_set)


def test_the_first_contact_may_take_twice_as_long(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[float] = []

    def within(operation: Callable[[], str], seconds: float) -> str:
        bounds.append(seconds)
        return operation()

    monkeypatch.setattr("evertoken.stores.link._within", within)
    for _ in range(2):
        link.call("ask", lambda: "answer")
    assert bounds == [1.0, 0.5]


def test_an_operation_that_times_out_by_itself_is_quoted(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    assert link.call("ask", raising(TimeoutError("of its own"))) is Lost.UNANSWERED
    assert "of its own" in caplog.text


def test_where_no_thread_is_to_be_had_the_caller_asks(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = raising(RuntimeError("at exit"))
    monkeypatch.setattr(threading.Thread, "start", lambda _self: refuse())
    assert link.call("ask", threading.current_thread) is threading.current_thread()


def test_a_refusal_is_an_answer(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    for purpose in ("save", "lock", "save"):
        assert link.call(purpose, raising(Refusal("FULL no room"))) is Lost.REFUSED
    assert link.call("load", lambda: "answer") == "answer"
    assert link.call("save", raising(Refusal("LOCKED another cause"))) is Lost.REFUSED
    link.call("save", lambda: "done")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]
    link.call("lock", lambda: "done")
    assert caplog.records[-1].getMessage() == "The server no longer refuses (Refusal FULL)"


def test_a_refusal_without_words(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    assert link.call("save", raising(Refusal())) is Lost.REFUSED
    assert "Refusal (save)" in caplog.text


@pytest.mark.parametrize(
    ("error", "shown", "hidden"),
    [
        (
            Refusal("ERR unknown command 'HELLO', with args beginning with: 'planted'"),
            "HELLO",
            "planted",
        ),
        (KeyError("planted"), "KeyError", "planted"),
        (OSError("x" * 1000), "x" * 200, "x" * 201),
    ],
)
def test_no_secret_is_said(  # S46
    link: Link, caplog: pytest.LogCaptureFixture, error: Exception, shown: str, hidden: str
) -> None:
    link.call("ask", raising(error))
    assert shown in caplog.text
    assert hidden not in caplog.text
