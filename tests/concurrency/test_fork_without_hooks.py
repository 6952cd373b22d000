"""A C program such as uWSGI forks without Python's hooks; the child detects it by its id."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evertoken import MemoryStore, TokenError
from evertoken.runtime import process
from support.fleet import CountingGrant, eventually, held, sibling

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from evertoken import TokenManager

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="this system has no list of a process's threads"
)


HUNG = 6.0
"""Seconds after which a child is assumed to hang; three of them fit into a wait at a gate."""


def in_child(call: Callable[[], bool], *, holding: AbstractContextManager[object]) -> bool:
    """The result of `call` in a child forked by C code; False if it raises, or three children hang.

    One child may hang because of CPython itself (see `asleep`). A lock of ours would hang every
    child, since this thread holds `holding` at each fork.
    """
    answers = (_of_one_child(call, holding) for _ in range(3))
    return next((answer for answer in answers if answer is not None), False)


def _of_one_child(call: Callable[[], bool], holding: AbstractContextManager[object]) -> bool | None:
    """The result in one child; None if it hangs."""
    eventually(asleep)
    with holding:
        # PyDLL keeps the interpreter's lock during the call, like a C program that embeds Python
        child = ctypes.PyDLL(None).fork()
    if child == 0:
        status = 1
        try:
            status = 0 if call() else 1
        finally:
            os._exit(status)
    with contextlib.suppress(AssertionError):
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        eventually(lambda: os.waitid(os.P_PID, child, ended), within=HUNG)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def asleep() -> bool:
    """Whether no other thread of this process ran while the interpreter was free for a moment.

    If a thread waits for the interpreter's lock during a fork without hooks, the child inherits
    that lock in a broken state, and CPython hangs.
    """
    before = _switches()
    threading.Event().wait(0.02)
    return _switches() == before


def _switches() -> dict[str, list[str]]:
    """The number of context switches of each other thread so far."""
    me = str(threading.get_native_id())
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name != me]
    return {task.name: _lines_on_switches(task / "status") for task in tasks}


def _lines_on_switches(status: Path) -> list[str]:
    try:
        return [line for line in status.read_text().splitlines() if "ctxt_switches" in line]
    except (FileNotFoundError, ProcessLookupError):
        return ["ended"]


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_a_child_forked_during_a_renewal_has_a_token(
    tmp_path: Path, *, shared: bool
) -> None:  # F29
    grant = CountingGrant()
    manager = sibling(grant, tmp_path if shared else None, timeout=4.0)

    def calls_succeed() -> bool:
        grant.gate.set()  # the child's copy
        return all(_had(manager) for _ in range(3))

    with held(grant):
        waiting = threading.Thread(target=manager.token, name="evertoken-caller")
        waiting.start()
        eventually(lambda: grant.requests == 1)
        assert in_child(calls_succeed, holding=process.lock())
    waiting.join(20)
    assert manager.token().value


def test_a_child_replaces_what_it_inherited_at_its_first_call() -> None:  # F29
    grant = CountingGrant()
    manager = sibling(grant, keep_fresh=True)
    manager.token()
    before, fraction = process.current(), process.jitter_fraction()

    def is_another() -> bool:
        renewed = manager.refresh(timeout=4.0)
        here = process.current()
        return (
            renewed.value.startswith("token-2-")
            and here is not before
            and here.lock is not before.lock
            and process.jitter_fraction() != fraction
        )

    assert in_child(is_another, holding=before.lock)
    assert process.current() is before


def test_threads_that_enter_a_child_at_once_share_one_process_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # F29
    renewed: list[int] = []

    class Slow:
        def renew_in_child(self) -> None:
            renewed.append(threading.get_ident())
            threading.Event().wait(0.05)

    slow = Slow()
    process.register(slow)
    with monkeypatch.context() as patch:
        patch.setattr(process, "_processes", {})
        found: list[process.Process] = []
        threads = [
            threading.Thread(target=lambda: found.append(process.current())) for _ in "12345"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(renewed) == 1
        assert len(set(map(id, found))) == 1


def test_a_memory_store_forked_during_a_change_starts_empty() -> None:  # F29
    memory = MemoryStore()
    memory._guard = threading.Lock()  # type: ignore[assignment]  # held as by another thread
    with memory._guard:
        memory.renew_in_child()
    assert memory.load(CountingGrant().key) is None


def _had(manager: TokenManager) -> bool:
    try:
        return bool(manager.token(timeout=4.0).value)
    except TokenError:
        return False
