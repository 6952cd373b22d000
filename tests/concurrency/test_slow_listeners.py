"""A listener or a log handler that blocks delays no request, and runs under no lock."""

from __future__ import annotations

import functools
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from evertoken.runtime import process, reports
from support.fleet import CountingGrant, eventually, sibling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.events import Event


class Blocking:
    """A listener, and a log handler, that waits until the end of the test."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.lock_was_free: bool | None = None

    def __call__(self, _told: Event | logging.LogRecord) -> None:
        with_lock = threading.Thread(target=self._try_lock)
        with_lock.start()
        with_lock.join(20)
        self.reached.set()
        self.gate.wait(20)

    def _try_lock(self) -> None:
        self.lock_was_free = process.lock().acquire(timeout=5)
        if self.lock_was_free:
            process.lock().release()


class Handler(logging.Handler):
    """A log handler that passes each record to a blocking listener."""

    def __init__(self, blocking: Blocking) -> None:
        super().__init__()
        self._blocking = blocking

    def emit(self, record: logging.LogRecord) -> None:
        self._blocking(record)


@pytest.fixture
def blocking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocking]:
    # the hanging thread must not delay the reports of later tests
    own = reports.Reporter()
    monkeypatch.setattr(reports, "_reporter", lambda: own)
    made = Blocking()
    yield made
    made.gate.set()


def test_no_call_waits_for_a_listener_that_blocks(blocking: Blocking) -> None:  # F34
    grant = CountingGrant()
    manager = sibling(grant, on_event=blocking)
    first = manager.token()
    assert blocking.reached.wait(20)
    assert blocking.lock_was_free
    assert manager.refresh() != first
    manager.invalidate(manager.token())
    assert manager.token().value
    manager.revoke()
    assert sibling(CountingGrant()).token().value
    assert not blocking.gate.is_set()


def test_no_call_waits_for_a_log_handler_that_blocks(blocking: Blocking) -> None:  # F34
    handler = Handler(blocking)
    log = logging.getLogger("evertoken")
    log.addHandler(handler)
    try:
        manager = sibling(CountingGrant())
        first = manager.token()
        assert blocking.reached.wait(20)
        assert blocking.lock_was_free
        assert manager.refresh() != first
    finally:
        log.removeHandler(handler)
        blocking.gate.set()


def test_reports_are_delivered_in_order_and_the_oldest_are_dropped(
    blocking: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MOST", 3)
    own = reports.Reporter()
    monkeypatch.setattr(reports, "_reporter", lambda: own)
    told: list[int] = []
    reports.enqueue(lambda: blocking.gate.wait(20))
    eventually(lambda: not own._pending)
    for number in range(5):
        reports.enqueue(functools.partial(told.append, number))
    blocking.gate.set()
    reports.catch_up(20)
    assert told == [2, 3, 4]
