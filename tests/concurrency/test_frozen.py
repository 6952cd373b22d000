"""A process frozen in the middle of a renewal sends no token that it knows to be dead."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests

from evertoken import BearerAuth, FileStore, MemoryStore, TokenError, TokenManager
from evertoken.testing import TokenServer
from support.http_clients import grant_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from evertoken import PasswordGrant

pytestmark = pytest.mark.slow

LIFETIME = 3
"""The lifetime of a token in seconds; the process is frozen for longer."""


def call(pipe: Connection, grant: PasswordGrant, url: str) -> None:
    """Call the API once per message, and report the status or the error."""
    auth = BearerAuth(TokenManager(grant, memory=MemoryStore()), retry_statuses=())
    while pipe.recv():
        try:
            pipe.send(requests.get(url, auth=auth, timeout=30).status_code)
        except requests.RequestException as error:
            pipe.send(type(error).__name__)


@contextlib.contextmanager
def child(work: Callable[..., None], *args: object) -> Iterator[tuple[Connection, int]]:
    """A process that runs `work`: one end of a pipe to it, and its process id."""
    ours, theirs = multiprocessing.Pipe()
    # literal secrets do not pickle, so the grant is passed by a fork
    process = multiprocessing.get_context("fork").Process(
        target=work, args=(theirs, *args), daemon=True
    )
    process.start()
    assert process.pid is not None
    try:
        yield ours, process.pid
    finally:
        process.kill()
        process.join()


def answer(pipe: Connection) -> Any:
    pipe.send(True)
    assert pipe.poll(60), "the process hangs"
    return pipe.recv()


@pytest.mark.parametrize("connection", ["kept", "lost"])
def test_a_process_frozen_longer_than_its_tokens_lifetime_fails_no_call(connection: str) -> None:
    # F30
    with TokenServer(expires_in=LIFETIME) as server:
        grant = grant_of(server, deadline=2 if connection == "lost" else 30)
        with child(call, grant, server.api_url) as (pipe, pid):
            assert answer(pipe) == 200
            server.hang()
            while server.token_requests == 1:
                assert answer(pipe) == 200
                time.sleep(0.02)
            os.kill(pid, signal.SIGSTOP)
            if connection == "lost":
                server.close()
                server.start()
            server.recover()
            time.sleep(LIFETIME + 0.5)
            os.kill(pid, signal.SIGCONT)

            assert [answer(pipe) for _ in range(5)] == [200] * 5


@dataclass
class Tally:
    """The calls of a process that was frozen repeatedly.

    Attributes:
        calls: calls for a token.
        dead: tokens that had expired before the call for them began.
        failed: calls that raised.
    """

    calls: int = 0
    dead: int = 0
    failed: int = 0


def keep_calling(pipe: Connection, grant: PasswordGrant, folder: Path) -> None:
    """Ask for a token repeatedly until told to stop, then report a `Tally`."""
    manager = TokenManager(grant, memory=MemoryStore(), store=FileStore(folder))
    tally = Tally()
    while not pipe.poll():
        began = time.time()
        try:
            tally.dead += manager.token().expires_at <= began
        except TokenError:
            tally.failed += 1
        tally.calls += 1
        time.sleep(0.002)
    pipe.send(tally)


def freeze(pid: int, times: int, dice: random.Random) -> None:
    """Stop a process at random moments, for up to twice a token's lifetime."""
    for _ in range(times):
        time.sleep(dice.uniform(0.0, SHORT))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(dice.uniform(0.0, 2 * SHORT))
        os.kill(pid, signal.SIGCONT)


SHORT = 1
"""The lifetime of a token in seconds while processes are frozen at random."""


def test_processes_frozen_at_random_moments_never_get_a_dead_token(
    tmp_path: Path, *, soak: bool
) -> None:  # F30
    with TokenServer(expires_in=SHORT) as server, contextlib.ExitStack() as stack:
        grant = grant_of(server)
        callers = [
            stack.enter_context(child(keep_calling, grant, tmp_path / "tokens")) for _ in range(4)
        ]
        times = 250 if soak else 3
        freezers = [
            threading.Thread(target=freeze, args=(pid, times, random.Random(pid)))  # noqa: S311
            for _, pid in callers
        ]
        for each in freezers:
            each.start()
        for each in freezers:
            each.join()
        tallies = [answer(pipe) for pipe, _ in callers]
    assert all(each.calls for each in tallies)
    assert [(each.dead, each.failed) for each in tallies] == [(0, 0)] * 4
