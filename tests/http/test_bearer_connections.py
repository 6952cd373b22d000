"""A rejecting answer neither blocks a pool nor leaks a connection, whatever its size and form."""

from __future__ import annotations

import gc
import gzip
import importlib
import os
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests
import urllib3.util.connection
from requests.adapters import HTTPAdapter
from urllib3.util import Timeout

from evertoken import BearerAuth, replay
from evertoken.replay import DRAINED
from evertoken.testing import Answer, Cut, Drip, Endless, Gzip, Raw
from evertoken.testing.answers import Head, Hold
from support.http_clients import WAIT, manager_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import Any

    from evertoken.testing import Behaviour, Exchange, TokenServer
    from evertoken.testing.answers import Step

pytestmark = pytest.mark.timeout(30)  # a pool with block=True would wait forever

CHUNKED = b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n"
KEPT: dict[str, Behaviour] = {
    "empty": Answer(401),
    "small": Answer(401, (), b"denied"),
    "64 KiB": Answer(401, (), bytes(DRAINED)),
    "gzip": Gzip(Answer(401, (), b"denied")),
    "gzip bomb": Gzip(Answer(401, (), bytes(8 << 20))),
    "broken gzip": Answer(401, {"Content-Encoding": "gzip"}, b"denied"),
}
CLOSED: dict[str, Behaviour] = {
    "192 KiB": Answer(401, (), bytes(3 * DRAINED)),
    "8 MiB": Answer(401, (), bytes(8 << 20)),
    "to the end": Raw(b"HTTP/1.1 401 Unauthorized\r\n\r\ndenied"),
    "closing": Answer(401, {"Connection": "close"}),
    "chunked": Raw(CHUNKED + b"6\r\ndenied\r\n0\r\n\r\n"),
    "cut": Cut("body", then=Answer(401, (), b"denied")),
    "cut in a chunk": Raw(CHUNKED + b"ff\r\ndenied"),
    "endless": Raw(b"HTTP/1.1 401 Unauthorized\r\n\r\n" + bytes(8 << 20)),
}


@pytest.fixture
def session(token_server: TokenServer) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True))
        session.auth = BearerAuth(manager_of(token_server))
        yield session


def idle(session: requests.Session, server: TokenServer) -> int:
    """The number of idle connections in the pool of one."""
    adapter = session.get_adapter(server.api_url)
    assert isinstance(adapter, HTTPAdapter)
    request = requests.Request("GET", server.api_url).prepare()
    pool = adapter.get_connection_with_tls_context(request, verify=True)
    assert pool.pool is not None
    assert pool.num_requests > 0, "another pool was meant"
    return pool.pool.qsize()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses that the callers' sessions have connected to so far."""
    # the token endpoint's connection has imported the original function
    importlib.import_module("evertoken.grants.connection")
    made: list[tuple[str, int]] = []

    def counting(address: tuple[str, int], *rest: Any, **options: Any) -> socket.socket:
        made.append(address)
        return connect(address, *rest, **options)

    connect = urllib3.util.connection.create_connection
    monkeypatch.setattr(urllib3.util.connection, "create_connection", counting)
    return made


@pytest.mark.parametrize("stream", [False, True], ids=["read", "streamed"])
@pytest.mark.parametrize("kind", [*KEPT, *CLOSED])
def test_a_connection_pool_of_one_works_after_a_401(
    token_server: TokenServer,
    session: requests.Session,
    connected: list[tuple[str, int]],
    kind: str,
    *,
    stream: bool,
) -> None:  # F23
    token_server.api.answer_next({**KEPT, **CLOSED}[kind])

    response = session.get(token_server.api_url, stream=stream, timeout=WAIT)
    length = len(response.content)
    again = session.get(token_server.api_url, timeout=WAIT)

    assert (response.status_code, again.status_code) == (200, 200)
    assert length > 0
    assert idle(session, token_server) == 1
    assert len(connected) == (1 if kind in KEPT else 2)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("small", "denied"), ("gzip", "denied"), ("chunked", "denied"), ("empty", "")],
)
def test_a_small_rejecting_answer_stays_readable(
    token_server: TokenServer, session: requests.Session, kind: str, text: str
) -> None:  # F23
    token_server.api.answer_next({**KEPT, **CLOSED}[kind])

    response = session.get(token_server.api_url, stream=True, timeout=WAIT)

    assert [it.text for it in response.history] == [text]
    response.close()


def test_part_of_a_large_rejecting_answer_stays_readable(
    token_server: TokenServer, session: requests.Session
) -> None:
    token_server.api.answer_next(CLOSED["8 MiB"])

    response = session.get(token_server.api_url, timeout=WAIT)

    assert DRAINED <= len(response.history[0].content) <= 2 * DRAINED


@pytest.mark.parametrize("behaviour", [Drip(0.001), Endless()], ids=repr)
def test_a_streamed_answer_is_left_for_the_caller_to_read(
    token_server: TokenServer, session: requests.Session, behaviour: Behaviour
) -> None:  # F23
    token_server.api.answer_next(Answer(401), behaviour)

    with session.get(token_server.api_url, stream=True, timeout=WAIT) as response:
        assert response.status_code == 200
        assert next(response.iter_content(1))

    assert session.get(token_server.api_url, timeout=WAIT).status_code == 200
    assert idle(session, token_server) == 1


DRIPPED: dict[str, Answer] = {
    "sized": Answer(401, (), bytes(60_000)),
    "chunked": Answer(401, {"Transfer-Encoding": "chunked"}, b"1\r\nx\r\n" * 10_000),
    "closing": Answer(401, {"Connection": "close"}, bytes(60_000)),
    "gzip": Answer(401, {"Content-Encoding": "gzip"}, gzip.compress(os.urandom(60_000))),
}


@pytest.mark.parametrize("timeout", [0.5, (WAIT, 0.5), Timeout(0.5), 1000.0, None], ids=repr)
@pytest.mark.parametrize("stream", [False, True], ids=["read", "streamed"])
@pytest.mark.parametrize("kind", DRIPPED)
def test_a_dripping_401_is_closed_soon(
    token_server: TokenServer,
    session: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    timeout: Any,
    *,
    stream: bool,
) -> None:  # F36
    if timeout not in {1000.0, None}:
        # the request's read timeout also bounds it
        monkeypatch.setattr(replay, "DRAIN_TIME", 1000.0)
    token_server.api.answer_next(Drip(0.01, then=DRIPPED[kind]))

    start = time.monotonic()
    response = session.get(token_server.api_url, stream=stream, timeout=timeout)

    # the whole answer would take ten minutes
    assert time.monotonic() - start < 10
    assert response.status_code == 200
    assert len(response.content) > 0
    assert idle(session, token_server) == 1


@dataclass(frozen=True)
class Stalled:
    """Sends a head and nothing after it."""

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        del exchange
        yield Head(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\n")
        yield Hold()


def test_a_401_whose_body_never_comes_is_closed_soon(
    token_server: TokenServer, session: requests.Session
) -> None:  # F36
    token_server.api.answer_next(Stalled())

    # without a read timeout of its own it would wait for ever
    response = session.get(token_server.api_url, timeout=None)

    assert response.status_code == 200


def test_a_dripping_401_that_is_not_replayed_is_returned(
    token_server: TokenServer, session: requests.Session
) -> None:  # F36
    token_server.api.answer_next(Drip(0.01, then=DRIPPED["sized"]))

    start = time.monotonic()
    with session.post(token_server.api_url, data=iter([b"gone"]), stream=True, timeout=WAIT) as it:
        assert it.status_code == 401
        assert next(it.iter_content(1)) == b"\0"
    assert time.monotonic() - start < 10


def test_a_401_to_head_is_answered_too(
    token_server: TokenServer, session: requests.Session
) -> None:  # F23
    token_server.api.answer_next(Answer(401, (), b"denied"))

    response = session.head(token_server.api_url, timeout=WAIT)

    assert (response.status_code, response.content) == (200, b"")
    assert idle(session, token_server) == 1


def test_a_second_401_leaks_no_connection(
    token_server: TokenServer, session: requests.Session, connected: list[tuple[str, int]]
) -> None:  # F23
    token_server.api.answer_always(Answer(401, (), b"denied"))

    answers = [session.get(token_server.api_url, timeout=WAIT) for _ in range(3)]

    assert [(it.status_code, it.text) for it in answers] == [(401, "denied")] * 3
    assert idle(session, token_server) == len(connected) == 1


def test_the_body_of_a_rejected_request_is_not_kept_until_a_garbage_collection(
    token_server: TokenServer, session: requests.Session
) -> None:
    token_server.api.answer_next(Answer(401))
    gc.disable()
    try:
        sent = weakref.ref(session.post(token_server.api_url, data=b"a lead", timeout=WAIT).request)
        assert sent() is None
    finally:
        gc.enable()
