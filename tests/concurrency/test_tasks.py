"""Tasks of asyncio and trio wait for a token like threads, without blocking their event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from evertoken import GrantUnavailable, RefreshTimeout
from evertoken.core.token import TokenKey
from evertoken.engine import store_watcher
from evertoken.engine.store_watcher import StoreWatcher
from evertoken.runtime import clock, tasks
from support.fleet import BOUND, CountingGrant, eventually, held, in_threads, sibling
from support.slow_store import SlowStore

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from evertoken import TokenManager

Runs = Callable[[Callable[[], Coroutine[None, None, object]]], object]

LOOPS: dict[str, Runs] = {
    "asyncio": partial(anyio.run, backend="asyncio"),
    "uvloop": partial(anyio.run, backend="asyncio", backend_options={"use_uvloop": True}),
    "trio": partial(anyio.run, backend="trio"),
}


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def run(request: pytest.FixtureRequest) -> Runs:
    """Run a coroutine function in one kind of event loop."""
    return LOOPS[request.param]


async def gathered(count: int, call: Callable[[], Awaitable[str]]) -> set[str]:
    """The results of `call` in several tasks at once."""
    found: list[str] = []

    async def one() -> None:
        found.append(await call())

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    assert len(found) == count
    return set(found)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    with anyio.fail_after(BOUND):
        while not condition():  # noqa: ASYNC110  other threads tell no event of a loop
            await anyio.sleep(0.005)


def waiting_in(manager: TokenManager) -> int:
    """The number of callers that wait for the renewal in flight."""
    renewal = manager.renewer.in_flight
    return 0 if renewal is None else len(renewal._task.waiters._releases)


def test_any_number_of_tasks_share_one_grant_and_need_no_thread_each(run: Runs) -> None:
    grant = CountingGrant()
    manager = sibling(grant)

    async def main() -> None:
        before = threading.active_count()
        with held(grant):
            async with anyio.create_task_group() as group:
                group.start_soon(gathered, 500, manager.aheader)
                await until(lambda: waiting_in(manager) == 500)
                # the pool's thread, and the one that starts it
                assert threading.active_count() - before <= 2
                grant.gate.set()

    run(main)
    assert grant.requests == 1
    assert waiting_in(manager) == 0


def test_the_loop_goes_on_while_a_task_waits(run: Runs) -> None:
    grant = CountingGrant()
    manager = sibling(grant)

    async def main() -> None:
        with held(grant):
            async with anyio.create_task_group() as group:
                group.start_soon(manager.atoken)
                # a loop that is held would never come here: the gate opens below
                await until(lambda: waiting_in(manager) == 1)
                grant.gate.set()

    run(main)
    assert grant.requests == 1


def test_tasks_of_two_loops_and_threads_wait_for_the_same_renewal() -> None:
    grant = CountingGrant()
    manager = sibling(grant)
    calls: list[Callable[[], object]] = [
        *(partial(kind, manager.aheader) for kind in LOOPS.values()),
        manager.header,
    ]
    turns = queue.SimpleQueue[Callable[[], object]]()
    for call in calls:
        turns.put(call)

    def open_the_gate() -> None:
        eventually(lambda: waiting_in(manager) == len(calls))
        grant.gate.set()

    def next_call() -> object:
        call = turns.get()
        return call()

    with held(grant):
        opener = threading.Thread(target=open_the_gate)
        opener.start()
        headers = in_threads(len(calls), next_call)
        opener.join()
    assert headers == [manager.header()] * len(calls)
    assert grant.requests == 1


def test_a_cancelled_task_ends_its_own_wait_and_nothing_else(run: Runs) -> None:
    grant = CountingGrant()
    manager = sibling(grant)

    async def main() -> None:
        with held(grant):
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(manager.aheader)
                await until(lambda: waiting_in(manager) == 50)
                group.cancel_scope.cancel()
            assert waiting_in(manager) == 0
            assert manager.status().renewing
        await until(lambda: manager.status().state == "fresh")

    run(main)
    assert manager.header(timeout=0.0)
    assert grant.requests == 1


def test_a_task_waits_no_longer_than_its_timeout(run: Runs) -> None:
    grant = CountingGrant()
    manager = sibling(grant)

    async def main() -> None:
        with held(grant):
            with anyio.fail_after(BOUND / 4), pytest.raises(RefreshTimeout):
                await manager.atoken(timeout=0.05)
            assert waiting_in(manager) == 0
        assert (await manager.atoken()).value

    run(main)
    assert grant.requests == 1


def test_a_task_is_told_why_there_is_no_token(run: Runs) -> None:
    grant = CountingGrant()
    grant.failure = GrantUnavailable("503", transient=True)
    manager = sibling(grant)

    async def main() -> None:
        with pytest.raises(GrantUnavailable, match="503"):
            await manager.aheader()

    run(main)


def test_a_refused_token_is_replaced_for_a_task(run: Runs) -> None:
    grant = CountingGrant()
    manager = sibling(grant)

    async def main() -> None:
        dead = await manager.aheader()
        header = await manager.areplacement(dead)
        assert header not in {None, dead}
        assert header == await manager.aheader()

    run(main)
    assert grant.requests == 2


def test_no_task_waits_while_its_token_is_usable(run: Runs) -> None:
    grant = CountingGrant(lifetime=4.0)
    manager = sibling(grant)
    old = manager.header()

    async def main() -> None:
        with held(grant):
            await until(lambda: manager.status().state == "stale")
            assert await manager.aheader(timeout=0.0) == old

    run(main)


def test_a_loop_that_was_closed_during_a_renewal_harms_no_other(run: Runs) -> None:
    grant = CountingGrant()
    manager = sibling(grant)

    def leave_a_task_behind() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(manager.aheader())
        loop.run_until_complete(asyncio.sleep(0.01))
        assert waiting_in(manager) == 1
        loop.close()
        # its loop is closed, which must cause no warning
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it has no public name

    async def main() -> None:
        # the gate opens, and this task is notified after the one whose loop is closed
        async with anyio.create_task_group() as group:
            group.start_soon(manager.aheader)
            await until(lambda: waiting_in(manager) == 2)
            grant.gate.set()
            with anyio.fail_after(BOUND / 4):
                assert await manager.aheader()

    with held(grant):
        leave_a_task_behind()
        run(main)
    assert grant.requests == 1


def test_a_store_across_a_network_that_hangs_does_not_hold_the_loop(
    run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_watcher, "POLL_WAIT", BOUND)
    store = SlowStore()
    key = TokenKey("https://tokens.example/", "client")
    polled = StoreWatcher(store).poll(key, clock.now(), lambda *_: None)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(tasks.run, polled)
            await until(lambda: store.loads == 1)
            # a loop that is held would never come here: the gate opens below
            store.gate.set()

    start = time.monotonic()
    run(main)
    assert time.monotonic() - start < BOUND / 2
