"""Waits leave nothing behind."""

from __future__ import annotations

from evertoken.runtime.waiters import Waiters


def test_a_wait_that_times_out_is_forgotten() -> None:
    waiters = Waiters()
    for _ in range(3):
        assert not waiters.wait(lambda: False, 0.001)
    assert not waiters._releases


def test_a_wait_that_was_over_before_it_began_is_forgotten() -> None:
    waiters = Waiters()
    assert waiters.wait(lambda: True, 60.0)
    assert not waiters._releases
