"""A process that renews for months leaks no memory, descriptors or threads."""

from __future__ import annotations

import gc
import logging
import os
import threading
import tracemalloc
from typing import TYPE_CHECKING, NamedTuple

import pytest

from evertoken import GrantUnavailable
from evertoken.runtime import process
from support.fleet import CountingGrant, eventually, sibling

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken import TokenManager

WARM_UP = 50


def renew(manager: TokenManager, grant: CountingGrant, times: int) -> None:
    failure = GrantUnavailable("503", transient=True)
    for number in range(times):
        grant.failure = failure if number % 10 == 9 else None
        if grant.failure is None:
            manager.refresh()
        else:
            with pytest.raises(GrantUnavailable):
                manager.refresh()


class Held(NamedTuple):
    """The resources that this process uses now."""

    objects: int
    memory: int
    descriptors: int


def held_now() -> Held:
    gc.collect()
    memory, _ = tracemalloc.get_traced_memory()
    return Held(len(gc.get_objects()), memory, len(os.listdir("/proc/self/fd")))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are counted in /proc")
def test_renewals_leak_no_memory_threads_or_descriptors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, soak: bool
) -> None:
    # pytest keeps every record that it captures
    for name in ("evertoken", "filelock"):
        caplog.set_level(logging.CRITICAL, logger=name)
    grant = CountingGrant()
    manager = sibling(grant, tmp_path)
    times = 10_000 if soak else 300
    tracemalloc.start()
    try:
        renew(manager, grant, WARM_UP)
        before = held_now()
        renew(manager, grant, times)
        eventually(lambda: threading.active_count() < 50)
        after = held_now()
    finally:
        tracemalloc.stop()
    print(f"{times} renewals: {before} -> {after}")  # noqa: T201  numbers to report
    assert after.descriptors <= before.descriptors
    # a leak of one object per three renewals
    assert after.objects - before.objects < times / 3
    # The interpreter's string table may double at any time, by 2 MiB, which is not a leak. 400
    # bytes per renewal of a long run would be.
    assert after.memory - before.memory < 4 << 20


def test_an_object_registered_for_forks_is_freed_with_its_last_user() -> None:
    before = len(process._forkables)
    managers = [sibling(CountingGrant()) for _ in range(10)]
    assert len(process._forkables) > before
    managers.clear()
    gc.collect()
    assert len(process._forkables) <= before


def test_a_child_gets_its_own_jitter_fraction_and_locks() -> None:
    manager = sibling(CountingGrant())
    first = manager.token()
    lock, fraction = process.lock(), process.jitter_fraction()
    process._forked()
    assert process.lock() is not lock
    assert process.jitter_fraction() != fraction
    assert manager.token() == first
