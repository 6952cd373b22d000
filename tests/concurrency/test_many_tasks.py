"""Many tasks, loops and cancellations at once; `--soak` makes the runs of the full size."""

from __future__ import annotations

import asyncio
import gc
import queue
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from support.fleet import CountingGrant, eventually, held, in_threads, sibling

if TYPE_CHECKING:
    from evertoken import TokenManager


def waiting_in(manager: TokenManager) -> int:
    """The number of callers that wait for the renewal in flight."""
    renewal = manager.renewer.in_flight
    return 0 if renewal is None else len(renewal._task.waiters._releases)


def test_tasks_at_a_cold_start_cost_one_grant_and_no_thread_each(*, soak: bool) -> None:
    size = 10_000 if soak else 1_000
    grant = CountingGrant()
    manager = sibling(grant)

    async def main() -> set[str]:
        before = threading.active_count()
        tasks = [asyncio.create_task(manager.aheader()) for _ in range(size)]
        while waiting_in(manager) < size:  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.005)
        # the pool's thread, and the one that starts it
        assert threading.active_count() - before <= 2
        grant.gate.set()
        return set(await asyncio.gather(*tasks))

    with held(grant):
        assert asyncio.run(main()) == {manager.header()}
    assert grant.requests == 1


def test_loops_that_come_and_go_beside_plain_threads_share_one_grant_per_lifetime(
    *, soak: bool
) -> None:
    threads, runs, lifetimes = (16, 60, 5) if soak else (4, 10, 3)
    grant = CountingGrant()
    manager = sibling(grant)

    def by_loops() -> set[str]:
        return {asyncio.run(manager.aheader()) for _ in range(runs)}

    def by_calls() -> set[str]:
        return {manager.header() for _ in range(runs)}

    turns = queue.SimpleQueue[Callable[[], set[str]]]()

    def next_kind() -> frozenset[str]:
        return frozenset(turns.get()())

    for lifetime in range(1, lifetimes + 1):
        for _ in range(threads):
            turns.put(by_loops)
            turns.put(by_calls)
        assert set(in_threads(2 * threads, next_kind)) == {frozenset([manager.header()])}
        assert grant.requests == lifetime
        manager.invalidate(manager.token())


def test_random_cancellations_leave_nothing_behind(*, soak: bool) -> None:
    size = 10_000 if soak else 500
    chance = random.Random(19)  # noqa: S311  a seed, so that a failure can be repeated
    grant = CountingGrant()
    manager = sibling(grant)
    complaints: list[object] = []

    async def cancelled_at_random() -> None:
        task = asyncio.create_task(manager.aheader())
        await asyncio.sleep(chance.random() * 0.02)
        task.cancel()
        await asyncio.wait([task])

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
        for _ in range(size // 100):
            grant.gate.clear()
            if manager.status().state == "fresh":
                manager.invalidate(await manager.atoken())
            cancelled = [asyncio.create_task(cancelled_at_random()) for _ in range(100)]
            await asyncio.sleep(chance.random() * 0.02)
            grant.gate.set()
            await asyncio.gather(*cancelled)
            assert await manager.aheader() == manager.header()
        gc.collect()

    asyncio.run(main())
    assert complaints == []
    assert waiting_in(manager) == 0
    eventually(lambda: not manager.status().renewing)
    assert grant.requests <= size // 100 + 1


def test_a_loop_that_ends_amid_its_waits_harms_no_later_one() -> None:
    grant = CountingGrant()
    manager = sibling(grant)

    async def impatient() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.gather(*[manager.aheader() for _ in range(20)])

    with held(grant):
        for _ in range(5):
            with pytest.raises(TimeoutError):
                asyncio.run(impatient())
        assert waiting_in(manager) == 0
        later = threading.Thread(target=partial(asyncio.run, manager.aheader()))
        later.start()
        eventually(lambda: waiting_in(manager) == 1)
        grant.gate.set()
        later.join()
    assert grant.requests == 1
