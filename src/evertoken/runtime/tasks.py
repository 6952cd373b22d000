"""Runs a flow in a task of asyncio or trio, without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from evertoken.runtime.waiters import Flow, Wait

T = TypeVar("T")

LONGEST_TIMER = 86_400.0
"""Seconds. An event loop limits its timers; after one ends, the flow checks the clock again."""


async def run(flow: Flow[T]) -> T:
    """Run `flow`, and return or raise its outcome.

    If the task is cancelled, only its wait ends: the work goes on in the thread pool of the
    process.
    """
    with contextlib.closing(flow):
        while True:
            try:
                wait = next(flow)
            except StopIteration as end:
                result: T = end.value
                return result
            await pause(wait)


async def pause(wait: Wait) -> None:
    """Wait in this task."""
    await (_pause_in_trio if _in_trio() else _pause_in_asyncio)(wait)


def _in_trio() -> bool:
    # a program that has not imported trio cannot be running it
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


async def _pause_in_asyncio(wait: Wait) -> None:
    loop = asyncio.get_running_loop()
    news: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not news.done():
            news.set_result(None)

    def release() -> None:
        # RuntimeError: the loop was closed, with its tasks
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell)

    wait.waiters.add(release)
    timer = loop.call_later(min(max(0.0, wait.seconds), LONGEST_TIMER), tell)
    try:
        if not wait.ready():
            await news
    finally:
        timer.cancel()
        wait.waiters.remove(release)


async def _pause_in_trio(wait: Wait) -> None:
    # the caller uses it
    trio = sys.modules["trio"]
    token, news = trio.lowlevel.current_trio_token(), trio.Event()

    def release() -> None:
        # the run has ended, with its tasks
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(news.set)

    wait.waiters.add(release)
    try:
        with trio.move_on_after(max(0.0, wait.seconds)):
            if not wait.ready():
                await news.wait()
    finally:
        wait.waiters.remove(release)
