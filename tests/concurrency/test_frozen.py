"""A process that is frozen in the middle of a renewal sends no token that it knows to be dead."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import BearerAuth, MemoryStore, TokenManager
from evertoken.testing import TokenServer
from support.http_clients import grant_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from evertoken import PasswordGrant

pytestmark = pytest.mark.slow

LIFETIME = 3
"""Seconds that a token lives: the process is frozen for longer."""


def call(pipe: Connection, grant: PasswordGrant, url: str) -> None:
    """Call the API once for each message, and report the status or the error."""
    auth = BearerAuth(TokenManager(grant, memory=MemoryStore()), retry_statuses=())
    while pipe.recv():
        try:
            pipe.send(requests.get(url, auth=auth, timeout=30).status_code)
        except requests.RequestException as error:
            pipe.send(type(error).__name__)


@contextlib.contextmanager
def caller(grant: PasswordGrant, url: str) -> Iterator[tuple[Connection, int]]:
    """A process that calls on demand, and its process id."""
    ours, theirs = multiprocessing.Pipe()
    # literal secrets do not pickle, so the grant travels by a fork
    process = multiprocessing.get_context("fork").Process(
        target=call, args=(theirs, grant, url), daemon=True
    )
    process.start()
    assert process.pid is not None
    try:
        yield ours, process.pid
    finally:
        process.kill()
        process.join()


def answer(pipe: Connection) -> object:
    pipe.send(True)
    assert pipe.poll(60), "the process hangs"
    return pipe.recv()


@pytest.mark.parametrize("connection", ["kept", "lost"])
def test_a_process_frozen_for_longer_than_its_token_lives_loses_no_call(connection: str) -> None:
    # F30
    with TokenServer(expires_in=LIFETIME) as server:
        grant = grant_of(server, deadline=2 if connection == "lost" else 30)
        with caller(grant, server.api_url) as (pipe, pid):
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
