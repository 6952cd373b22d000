"""The kernel's count of how long threads waited for a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from evertoken.demo import cpu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cpu, "_TASKS", tmp_path)
    return tmp_path


def queued(tasks: Path, thread: int, milliseconds: int) -> None:
    folder = tasks / str(thread)
    folder.mkdir(exist_ok=True)
    (folder / "schedstat").write_text(f"999000000 {milliseconds}000000 7\n")


def test_the_delays_of_all_threads_are_added_up(tasks: Path) -> None:
    queued(tasks, 1, 100)
    queued(tasks, 2, 200)
    before = cpu.delays()
    queued(tasks, 1, 110)
    queued(tasks, 2, 205)

    assert cpu.delayed_since(before) == pytest.approx(0.015)


def test_a_thread_that_was_started_since_counts_in_full(tasks: Path) -> None:
    queued(tasks, 1, 100)
    before = cpu.delays()
    queued(tasks, 2, 30)

    assert cpu.delayed_since(before) == pytest.approx(0.03)


def test_a_thread_that_has_ended_subtracts_nothing(tasks: Path) -> None:
    queued(tasks, 1, 100)
    queued(tasks, 2, 500)
    before = cpu.delays()
    queued(tasks, 1, 120)
    (tasks / "2" / "schedstat").unlink()

    assert cpu.delayed_since(before) == pytest.approx(0.02)


def test_no_delay_is_known_if_the_system_does_not_count_it(tasks: Path) -> None:
    tasks.rmdir()

    assert cpu.delays() == {}
    assert cpu.delayed_since({}) == 0.0


@pytest.fixture
def contested() -> Iterator[None]:
    """Restrict this thread to a CPU that another process keeps busy."""
    allowed = os.sched_getaffinity(0)
    one = {min(allowed)}
    os.sched_setaffinity(0, one)
    try:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
            yield
            busy.kill()
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the account")
@pytest.mark.usefixtures("contested")
def test_a_thread_that_has_to_share_its_cpu_is_delayed() -> None:
    before = cpu.delays()
    end = time.monotonic() + 20

    while cpu.delayed_since(before) < 0.05:
        assert time.monotonic() < end
