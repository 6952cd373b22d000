"""The pool: bounded, shared fairly between resources, and bypassed if no thread can run."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from evertoken.runtime import pool, threads, waiters
from evertoken.runtime.pool import SHARE, SIZE, Pool, Task
from support.fleet import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that tasks may wait for; set at the end of the test."""
    made = threading.Event()
    yield made
    made.set()


def waiting(gate: threading.Event, place: str = "a") -> Task[bool]:
    return Task(lambda: gate.wait(20), place)


def test_a_call_is_made_once_and_every_waiter_gets_its_result() -> None:
    calls: list[str] = []

    def call() -> str:
        calls.append(threading.current_thread().name)
        return "done"

    task = Task(call, "a")
    pool.submit(task)
    pool.submit(task)
    assert task.result() == task.result() == "done"
    assert calls == ["evertoken-worker"]


def test_an_exception_in_a_task_is_raised_by_its_result() -> None:
    def call() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        pool.run(call, "a")


def test_a_hanging_resource_uses_only_its_share_of_the_threads(
    gate: threading.Event,
) -> None:  # F42
    own = Pool()
    hung = [waiting(gate) for _ in range(SIZE * 2)]
    for task in hung:
        own.submit(task)
    eventually(lambda: sum(task.claimed for task in hung) == SHARE)
    other = Task(lambda: "done", "b")
    own.submit(other)
    assert waiters.run(other.waiting(20))
    assert sum(task.claimed for task in hung) == SHARE


def test_there_are_never_more_threads_than_its_size(gate: threading.Event) -> None:  # F42
    own = Pool()
    tasks = [waiting(gate, f"place {number}") for number in range(SIZE * 3)]
    for task in tasks:
        own.submit(task)
    eventually(lambda: sum(task.claimed for task in tasks) == SIZE)
    assert own._workers == SIZE
    gate.set()
    eventually(lambda: all(task.done for task in tasks))
    assert own._workers <= SIZE


def test_resources_take_turns(gate: threading.Event) -> None:
    own = Pool()
    order: list[str] = []
    hung = [waiting(gate, f"place {number}") for number in range(SIZE)]
    for task in hung:
        own.submit(task)
    eventually(lambda: all(task.claimed for task in hung))
    for place in "aaab":
        own.submit(Task(functools.partial(order.append, place), place))
    last = Task(lambda: None, "a")
    own.submit(last)
    gate.set()
    assert waiters.run(last.waiting(20))
    assert Counter(order) == {"a": 3, "b": 1}


def test_an_exit_waits_for_a_queued_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, task = Pool(), Task(lambda: "done", "a")
    workers: list[threading.Thread] = []

    def start_later(work: Callable[[], None], _name: str, **_: object) -> None:
        workers.append(threading.Thread(target=work, daemon=True))

    monkeypatch.setattr(threads, "start", start_later)
    own.submit(task)
    threading.Timer(0.1, workers[0].start).start()
    own.finish(20)
    assert task.done


def test_an_idle_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE", 0.01)
    own = Pool()
    for _ in range(5):
        task = Task(lambda: "done", "a")
        own.submit(task)
        assert task.result() == "done"
        eventually(lambda: own._workers == 0)


def test_without_threads_a_task_runs_in_the_thread_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # F33
    monkeypatch.setattr(threads, "can_run", lambda: False)
    assert pool.run(threading.get_ident, "a") == threading.get_ident()
    made: list[int] = []
    pool.do_soon(lambda: made.append(threading.get_ident()), "a")
    assert made == [threading.get_ident()]


def test_a_task_runs_in_the_waiting_thread_if_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # F33
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    own = Pool()
    task = Task(threading.get_ident, "a")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        own.submit(task)
        assert task.result() == threading.get_ident()
    # later a thread can start again
    again = Task(threading.get_ident, "a")
    own.submit(again)
    assert again.result() != threading.get_ident()


def test_an_exit_waits_for_running_calls_for_a_bounded_time(gate: threading.Event) -> None:
    own = Pool()
    own.finish(20)
    task = waiting(gate)
    own.submit(task)
    eventually(lambda: task.claimed)
    own.finish(0.05)
    assert not task.done
    threading.Timer(0.05, gate.set).start()
    own.finish(20)
    assert task.done
