"""CircuitBreaker: bounded calls, a circuit that opens at once, and one log record."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest

from evertoken.runtime import clock
from evertoken.stores.circuit_breaker import FIRST_PAUSE, LONGEST_PAUSE, CircuitBreaker, NoAnswer
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
def breaker(caplog: pytest.LogCaptureFixture) -> CircuitBreaker:
    caplog.set_level(logging.INFO)
    return CircuitBreaker(
        "The server", timeout=0.5, refusals=(Refusal,), quotable=(Refusal, OSError)
    )


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise error

    return raise_it


def test_an_answer_is_returned(breaker: CircuitBreaker) -> None:
    assert breaker.call("ask", lambda: "answer") == "answer"


def test_pauses_double_up_to_a_cap(breaker: CircuitBreaker, hands: Clock) -> None:
    pauses = []
    for _ in range(8):
        assert breaker.call("ask", raising(OSError("down"))) is NoAnswer.UNANSWERED
        since = hands.now
        while breaker.call("ask", raising(OSError("down"))) is NoAnswer.NOT_SENT:
            hands.now += 0.5
        pauses.append(hands.now - since)
        hands.now += 2 * LONGEST_PAUSE
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_one_caller_tests_whether_the_server_is_back(breaker: CircuitBreaker, hands: Clock) -> None:
    breaker.call("ask", raising(OSError("down")))
    hands.now += FIRST_PAUSE
    assert (
        breaker.call("probe", lambda: breaker.call("another", lambda: "asked")) is NoAnswer.NOT_SENT
    )
    assert breaker.call("ask", lambda: "answer") == "answer"


def test_an_answer_closes_the_circuit(
    breaker: CircuitBreaker, hands: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        breaker.call("ask", raising(OSError("down")))
        hands.now += LONGEST_PAUSE
    assert breaker.call("ask", lambda: "answer") == "answer"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    breaker.call("ask", raising(OSError("down")))
    hands.now += FIRST_PAUSE
    assert breaker.call("ask", lambda: "answer") == "answer"


def test_calls_that_failed_together_count_once(breaker: CircuitBreaker, hands: Clock) -> None:
    def together() -> NoReturn:
        hands.now += 0.1
        breaker.call("another", raising(OSError("down")))
        raise OSError("down")

    assert breaker.call("ask", together) is NoAnswer.UNANSWERED
    hands.now += FIRST_PAUSE
    assert breaker.call("ask", lambda: "answer") == "answer"


def test_a_hanging_call_is_abandoned(breaker: CircuitBreaker) -> None:
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait(BOUND)
        ended.set()

    assert breaker.call("ask", hang) is NoAnswer.UNANSWERED
    assert breaker.call("ask", lambda: "not asked") is NoAnswer.NOT_SENT
    release.set()
    eventually(ended.is_set)


def test_the_first_contact_may_take_twice_as_long(
    breaker: CircuitBreaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[float] = []

    def within(operation: Callable[[], str], seconds: float) -> str:
        bounds.append(seconds)
        return operation()

    monkeypatch.setattr("evertoken.stores.circuit_breaker._within", within)
    for _ in range(2):
        breaker.call("ask", lambda: "answer")
    assert bounds == [1.0, 0.5]


def test_an_operations_own_timeout_is_quoted(
    breaker: CircuitBreaker, caplog: pytest.LogCaptureFixture
) -> None:
    assert breaker.call("ask", raising(TimeoutError("of its own"))) is NoAnswer.UNANSWERED
    assert "of its own" in caplog.text


def test_without_threads_the_caller_makes_the_call(
    breaker: CircuitBreaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = raising(RuntimeError("at exit"))
    monkeypatch.setattr(threading.Thread, "start", lambda _self: refuse())
    assert breaker.call("ask", threading.current_thread) is threading.current_thread()


def test_a_refusal_counts_as_an_answer(
    breaker: CircuitBreaker, caplog: pytest.LogCaptureFixture
) -> None:
    for purpose in ("save", "lock", "save"):
        assert breaker.call(purpose, raising(Refusal("FULL no room"))) is NoAnswer.REFUSED
    assert breaker.call("load", lambda: "answer") == "answer"
    assert breaker.call("save", raising(Refusal("LOCKED another cause"))) is NoAnswer.REFUSED
    breaker.call("save", lambda: "done")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]
    breaker.call("lock", lambda: "done")
    assert caplog.records[-1].getMessage() == "The server no longer refuses (Refusal FULL)"


def test_a_refusal_without_words(breaker: CircuitBreaker, caplog: pytest.LogCaptureFixture) -> None:
    assert breaker.call("save", raising(Refusal())) is NoAnswer.REFUSED
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
def test_no_secret_is_logged(  # S46
    breaker: CircuitBreaker,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    shown: str,
    hidden: str,
) -> None:
    breaker.call("ask", raising(error))
    assert shown in caplog.text
    assert hidden not in caplog.text
