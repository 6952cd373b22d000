"""However much a token endpoint sends, and however slowly, memory and time are bounded."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.connection import HTTPConnection
from urllib3.util.connection import create_connection

from evertoken import GrantUnavailable, InvalidTokenResponse, RefreshTimeout, TokenError
from evertoken.grants.connection import watched
from evertoken.grants.endpoint import Endpoint
from evertoken.grants.watch import Watch
from evertoken.testing import Answer, Cut, Drip, Endless, Gzip, Hang, Raw, Reset, TokenServer
from support import http_memory
from support.http_clients import grant_of, manager_of
from support.http_raw import RawServer, black_holes, dripping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evertoken.testing import Behaviour

MEBI = 1 << 20
DEADLINE = 0.3
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def takes(*, at_least: float = 0.0, less_than: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert at_least <= took < less_than


def test_a_token_of_512_kib_is_accepted(token_server: TokenServer) -> None:  # S21
    token_server.extra = {"access_token": "t" * (512 << 10)}

    assert len(grant_of(token_server).request().value) == 512 << 10


@pytest.mark.parametrize("wrap", [lambda answer: answer, Gzip], ids=["plain", "gzip"])
@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_is_read_up_to_1_mib_decoded(
    token_server: TokenServer, wrap: Callable[[Answer], Behaviour], excess: int
) -> None:  # S21, F18
    document = b'{"access_token": "t", "token_type": "Bearer", "expires_in": 9}'
    whole = document + b" " * (MEBI - len(document) + excess)
    token_server.token_endpoint.answer_always(wrap(Answer(200, body=whole)))

    if not excess:
        assert grant_of(token_server).request().value == "t"
        return
    with pytest.raises(InvalidTokenResponse, match="larger than 1048576 bytes") as caught:
        grant_of(token_server).request()
    assert (caught.value.status, caught.value.transient) == (200, True)


def flood(start: bytes) -> Behaviour:
    return Raw(start + b"\r\n" + b" " * (32 * MEBI))


FLOODS: dict[str, tuple[Behaviour, str]] = {
    "endless": (Endless(), "InvalidTokenResponse"),
    "gzip bomb": (Endless(gzip=True), "InvalidTokenResponse"),
    "gzip bomb in one piece": (Gzip(Answer(200, (), bytes(64 * MEBI))), "InvalidTokenResponse"),
    "gzip bomb in gzip": (
        Answer(
            200,
            {"Content-Encoding": "gzip, gzip"},
            gzip.compress(gzip.compress(bytes(64 * MEBI))),
        ),
        "InvalidTokenResponse",
    ),
    "endless refusal": (flood(b"HTTP/1.1 400 Bad Request\r\n"), "GrantUnavailable"),
    "endless outage": (flood(b"HTTP/1.1 503 Service Unavailable\r\n"), "GrantUnavailable"),
    "endless redirect": (
        flood(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n"),
        "InvalidTokenResponse",
    ),
    "long headers": (
        Raw(OK + b"".join(b"X%d: %b\r\n" % (n, b"x" * 65_000) for n in range(90)) + b"\r\n"),
        "GrantUnavailable",
    ),
    "one header": (Raw(OK + b"X: " + b"x" * (16 * MEBI)), "GrantUnavailable"),
    "no end of interim answers": (
        Raw(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 100_000),
        "GrantUnavailable",
    ),
    "a token of 512 KiB": (
        Answer.json({"access_token": "t" * (512 << 10), "token_type": "Bearer"}),
        "a token of 524288 characters",
    ),
}


def test_no_answer_costs_more_than_8_mib(token_server: TokenServer) -> None:  # S21, F18
    token_server.token_endpoint.answer_next(
        Answer(503), *(behaviour for behaviour, _ in FLOODS.values())
    )
    ran = subprocess.run(  # noqa: S603  its own script
        [sys.executable, http_memory.__file__, token_server.token_url, str(len(FLOODS))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    report = json.loads(ran.stdout)

    for (name, (_, outcome)), cost in zip(FLOODS.items(), report["costs"], strict=True):
        assert cost["outcome"].startswith(outcome), name
        assert cost["peak"] <= 8 * MEBI, name
    assert report["grown"] <= 8 * MEBI


def tls_hello() -> RawServer:
    # a handshake record of 16 KiB that arrives byte by byte
    return dripping(b"\x16\x03\x03\x40\x00", b"\x02")


SLOW: dict[str, Callable[[], RawServer]] = {
    "says nothing": lambda: dripping(b"", b"", interval=60),
    "drips the status line": lambda: dripping(b"HTTP/1.1 200 ", b"O"),
    "drips headers": lambda: dripping(OK, b"X: y\r\n"),
    "drips interim answers": lambda: dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips the body": lambda: dripping(OK + b"Content-Length: 9999\r\n\r\n", b" "),
    "drips chunks": lambda: dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "drips until the end": lambda: dripping(OK + b"\r\n", b" "),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_endpoint_is_abandoned_at_the_deadline(kind: str) -> None:  # F17
    with SLOW[kind]() as server, TokenServer() as issuer:
        grant = grant_of(
            issuer, token_url=f"http://127.0.0.1:{server.port}/oauth/token/", deadline=DEADLINE
        )
        with (
            takes(at_least=DEADLINE, less_than=DEADLINE + 1),
            pytest.raises(
                GrantUnavailable, match=r"did not answer in full within 0\.3 s"
            ) as caught,
        ):
            grant.request()

    assert caught.value.transient


def test_a_slow_handshake_is_abandoned_at_the_deadline() -> None:  # F17
    with tls_hello() as server, TokenServer() as issuer:
        url = f"https://127.0.0.1:{server.port}/oauth/token/"
        with (
            takes(at_least=DEADLINE, less_than=DEADLINE + 1),
            pytest.raises(GrantUnavailable, match="did not answer in full") as caught,
        ):
            grant_of(issuer, token_url=url, deadline=DEADLINE).request()

    assert caught.value.local, "the handshake never ended"  # S53


def test_a_slow_proxy_is_abandoned_at_the_deadline() -> None:  # F17
    with dripping(b"", b"H") as proxy, TokenServer() as issuer:
        grant = grant_of(
            issuer,
            token_url="https://tokens.example.com/oauth/token/",
            proxies={"https": f"http://127.0.0.1:{proxy.port}"},
            deadline=DEADLINE,
        )
        with (
            takes(at_least=DEADLINE, less_than=DEADLINE + 1),
            pytest.raises(GrantUnavailable, match="did not answer in full"),
        ):
            grant.request()


@pytest.mark.parametrize(("timeout", "deadline"), [(0.2, 0.5), (9.0, 0.5)])
def test_many_addresses_share_one_deadline(
    monkeypatch: pytest.MonkeyPatch, timeout: float, deadline: float
) -> None:  # F17
    look_up = socket.getaddrinfo

    def many(host: str, *rest: object) -> list[object]:
        names = addresses if host == "tokens.example.com" else [host]
        return [found for name in names for found in look_up(name, *rest)]  # type: ignore[arg-type]

    with black_holes(9) as (addresses, port), TokenServer() as issuer:
        monkeypatch.setattr(socket, "getaddrinfo", many)
        grant = grant_of(
            issuer,
            token_url=f"https://tokens.example.com:{port}/oauth/token/",
            timeout=timeout,
            deadline=deadline,
        )
        with takes(at_least=0.4, less_than=0.5 + 1), pytest.raises(GrantUnavailable) as caught:
            grant.request()

    assert caught.value.transient


def test_the_next_address_is_tried(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    port = int(token_server.base_url.rpartition(":")[2])

    def two(host: str, *rest: object) -> list[object]:
        names = ["127.0.0.9", "127.0.0.1"] if host == "tokens.internal" else [host]
        return [found for name in names for found in look_up(name, *rest)]  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    url = f"http://tokens.internal:{port}/oauth/token/"

    grant_of(token_server, token_url=url, allow_http=True).request()

    assert token_server.grants == 1
    assert token_server.requests[0].headers["Host"] == f"tokens.internal:{port}"


@pytest.mark.parametrize("behaviour", [Hang(), Drip(0.05, "head"), Drip(0.05)], ids=repr)
def test_the_caller_returns_by_its_own_timeout(
    token_server: TokenServer, behaviour: Behaviour
) -> None:  # F17
    token_server.token_endpoint.answer_always(behaviour)
    manager = manager_of(token_server, grant=grant_of(token_server, deadline=1.0))

    with takes(at_least=0.3, less_than=0.8), pytest.raises(RefreshTimeout):
        manager.token(timeout=0.3)


@pytest.mark.parametrize(
    "answers",
    [(Hang(),), (Drip(0.05),), (Reset(), Hang()), (Reset(), Reset(), Drip(0.05))],
    ids=["silent", "dripping", "reset, then silent", "twice reset, then dripping"],
)
def test_a_first_renewal_ends_at_most_a_second_after_one_deadline(
    token_server: TokenServer, answers: tuple[Behaviour, ...]
) -> None:  # F17
    token_server.token_endpoint.answer_always(answers[-1])
    token_server.token_endpoint.answer_next(*answers[:-1])
    manager = manager_of(token_server, grant=grant_of(token_server, timeout=1.0, deadline=1.0))

    with takes(less_than=1.0 + 1.0 + 0.5), pytest.raises(GrantUnavailable):
        manager.token()

    assert token_server.token_requests == len(answers)
    assert not manager.status().renewing


def test_no_address_is_tried_after_the_deadline(token_server: TokenServer) -> None:  # F17
    with pytest.raises(GrantUnavailable, match=r"did not answer in full|no answer came in time"):
        Endpoint(timeout=5, deadline=1e-9).post(token_server.token_url, [("a", "b")])

    assert token_server.requests == ()


def test_a_connection_with_its_own_connect_method_keeps_it() -> None:  # F26
    left, right = socket.socketpair()

    class Socks(HTTPConnection):
        """A connection like urllib3's for SOCKS, which reaches the host through a proxy."""

        def _new_conn(self) -> socket.socket:
            return left

    with left, right:
        connection = watched(Socks, Watch(5))("tokens.example.com", 443)
        connection.connect()

        assert isinstance(connection, HTTPConnection)
        assert connection.sock is left


@pytest.mark.parametrize("behaviour", [Cut("body"), Answer(503), Hang()], ids=repr)
def test_no_connection_stays_open(
    token_server: TokenServer, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[socket.socket] = []

    def recording(*arguments: Any, **options: Any) -> socket.socket:
        used.append(create_connection(*arguments, **options))
        return used[-1]

    monkeypatch.setattr("evertoken.grants.connection.create_connection", recording)
    token_server.token_endpoint.answer_always(behaviour)

    with pytest.raises(TokenError):
        grant_of(token_server, deadline=2.0).request()

    assert [connection.fileno() for connection in used] == [-1]
