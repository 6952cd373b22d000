"""An exception raised by a signal handler reaches the caller and leaves no lock taken."""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import BearerAuth, Token, TokenManager
from evertoken.core.entry import Entry
from evertoken.runtime import clock, pool
from support.fleet import HOUR, CountingGrant, eventually, sibling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

WITHIN = 5.0
"""Seconds for a call that takes milliseconds."""


class SoftTimeLimit(Exception):
    """An exception like that of a task queue's signal handler."""


def cold(_manager: TokenManager) -> None:
    """A manager without a token."""


def fresh(manager: TokenManager) -> None:
    manager.token()


def seasoned(manager: TokenManager) -> None:
    """A manager with a token older than the pause between two grants."""
    now = clock.now()
    token = Token("first", now.wall - 10, now.wall + HOUR, issued_boot=now.boot - 10)
    assert manager.store is not None
    manager.store.save(manager.grant.key, Entry.of_token(token))
    manager.token()


def signed(manager: TokenManager) -> None:
    auth = BearerAuth(manager, origins=["https://api.example"])
    auth(requests.Request("GET", "https://api.example/").prepare())


def replaced(manager: TokenManager) -> None:
    manager.replacement(manager.header())


def invalidated(manager: TokenManager) -> None:
    manager.invalidate(manager.token())


CALLS: dict[str, tuple[Callable[[TokenManager], object], Callable[[TokenManager], object]]] = {
    "a first token()": (cold, TokenManager.token),
    "token()": (fresh, TokenManager.token),
    "a signed request": (cold, signed),
    "refresh()": (fresh, TokenManager.refresh),
    "replacement()": (seasoned, replaced),
    "invalidate()": (fresh, invalidated),
    "revoke()": (fresh, TokenManager.revoke),
    "status()": (fresh, TokenManager.status),
    "close()": (fresh, TokenManager.close),
}


def interrupted(call: Callable[[], object], place: int) -> bool:
    """Make the call, and raise at the given point among those where CPython runs signal handlers.

    These are the start of a Python function and the return from a C function. Returns False if
    there are not that many.
    """
    places = itertools.count()

    def hook(_frame: FrameType, event: str, _argument: object) -> None:
        if event in {"call", "c_return"} and next(places) == place:
            sys.setprofile(None)
            raise SoftTimeLimit

    try:
        sys.setprofile(hook)
        call()
    except SoftTimeLimit:
        return True
    finally:
        sys.setprofile(None)
    return next(places) > place


def still_works(manager: TokenManager, grant: CountingGrant, folder: Path) -> None:
    """Check that this manager and one of another process get one token, with at most one grant."""
    # an interrupted invalidate() or revoke() continues in the pool; this is queued behind it
    for place in (manager.renewer.resource, f"revocation {id(grant)}"):
        pool.run(lambda: None, place)
    pool.finish(WITHIN)
    before = grant.requests
    token: Token = manager.token(timeout=WITHIN)
    eventually(lambda: not manager.status().renewing, within=WITHIN)
    assert grant.requests <= before + 1
    assert sibling(grant, folder).token(timeout=WITHIN) == manager.token(timeout=WITHIN)
    assert token.value
    assert manager.refresh(timeout=WITHIN) != token


@pytest.mark.slow
@pytest.mark.timeout(600)  # three renewals for each point
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_call_interrupted_anywhere_leaves_no_lock_or_task_behind(  # F32
    name: str, tmp_path: Path
) -> None:
    prepare, call = CALLS[name]
    grant = CountingGrant()
    warm = sibling(grant, tmp_path / "warm")
    prepare(warm)
    call(warm)  # triggers the lazy imports
    for place in itertools.count():
        grant, folder = CountingGrant(), tmp_path / str(place)
        manager = sibling(grant, folder)
        prepare(manager)
        if not interrupted(functools.partial(call, manager), place):
            break
        still_works(manager, grant, folder)
    assert place


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
@pytest.mark.parametrize("name", CALLS)
def test_alarms_at_random_moments_leave_no_lock_or_task_behind(  # F32
    name: str, tmp_path: Path, *, soak: bool
) -> None:
    prepare, call = CALLS[name]
    dice = random.Random(name)  # noqa: S311  to be repeated

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise SoftTimeLimit

    before = signal.signal(signal.SIGALRM, ring)
    rounds = 1112 if soak else 20
    try:
        for number in range(rounds):
            grant, folder = CountingGrant(), tmp_path / str(number)
            manager = sibling(grant, folder)
            prepare(manager)
            with contextlib.suppress(SoftTimeLimit):
                try:
                    signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-6, 4e-3))
                    call(manager)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            still_works(manager, grant, folder)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert threading.active_count() < 100
