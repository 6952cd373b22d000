"""Uses that break other libraries: two loops, a loop inside a loop, the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import httpx
import pytest

import evertoken.clients.aiohttp
import evertoken.clients.httpx
from evertoken.testing import Answer, Hang
from support.any_client import CLIENTS, AnyClient, Call
from support.fleet import in_threads
from support.http_clients import WAIT, manager_of
from support.logs import warned

if TYPE_CHECKING:
    from evertoken.testing import TokenServer


@pytest.fixture(params=list(CLIENTS))
def client(request: pytest.FixtureRequest) -> AnyClient:
    """Each client in turn."""
    return CLIENTS[request.param]()


def test_one_auth_serves_several_loops_and_threads_at_once(
    client: AnyClient, token_server: TokenServer
) -> None:
    token_server.latency = 0.1
    auth = client.auth(manager_of(token_server))
    # an asynchronous client starts a loop of its own for each call
    statuses = in_threads(4, lambda: client.send(auth, "GET", token_server.api_url).status)
    assert statuses == [200] * 4
    assert client.send(auth, "GET", token_server.api_url).status == 200
    assert token_server.grants == 1


@pytest.mark.parametrize(
    "client", [it for it in CLIENTS if it == "aiohttp" or it.endswith("-async")], indirect=True
)
def test_the_loop_goes_on_while_a_call_waits_for_its_token(
    client: AnyClient, token_server: TokenServer
) -> None:
    auth = client.auth(manager_of(token_server))

    async def one_call() -> int:
        token_server.answer_next(Hang())
        call = asyncio.create_task(client.sent_in_task(auth, Call("GET", token_server.api_url)))
        # a loop that is held would never come to the release
        await asyncio.to_thread(token_server.wait_for_held)
        token_server.release()
        return (await call).status

    # the first token, and one that replaces a dead token
    for _ in range(2):
        assert asyncio.run(one_call()) == 200
        token_server.revoke_all()


def test_a_body_that_cannot_be_sent_again_is_warned_of_with_the_remedy(
    client: AnyClient, token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    manager = manager_of(token_server)
    manager.header()
    token_server.revoke_all()
    auth = client.auth(manager)
    body = {"body": b"lead=7", "stream": True}
    assert client.send(auth, "POST", token_server.api_url, **body).status == 401  # type: ignore[arg-type]  # a mapping of two types
    [line] = [it.getMessage() for it in warned(caplog) if "stream" in it.getMessage()]
    assert "send bytes, or repeat the call" in line
    assert client.send(auth, "POST", token_server.api_url, **body).status == 200  # type: ignore[arg-type]  # likewise


def test_a_sync_client_inside_a_running_loop_works(token_server: TokenServer) -> None:
    auth = evertoken.clients.httpx.BearerAuth(manager_of(token_server))

    async def cell_of_a_notebook() -> int:
        with httpx.Client(auth=auth, timeout=WAIT) as http:
            return http.get(token_server.api_url).status_code  # noqa: ASYNC212  the point

    assert asyncio.run(cell_of_a_notebook()) == 200


def test_calls_of_many_tasks_are_under_way_at_once(token_server: TokenServer) -> None:
    auth = evertoken.clients.httpx.BearerAuth(manager_of(token_server))
    token_server.api.answer_always(Hang())

    async def main() -> list[int]:
        async with httpx.AsyncClient(auth=auth, timeout=WAIT) as http:
            calls = [asyncio.create_task(http.get(token_server.api_url)) for _ in range(50)]
            # a lock that is held across a request would let one through
            await asyncio.to_thread(token_server.wait_for_held, 50)
            token_server.release()
            return [answer.status_code for answer in await asyncio.gather(*calls)]

    assert asyncio.run(main()) == [200] * 50
    assert token_server.grants == 1


def test_a_cookie_of_a_refused_answer_is_kept_by_a_session_of_aiohttp(
    token_server: TokenServer,
) -> None:
    token_server.api.answer_next(Answer(401, {"Set-Cookie": "session=new; Path=/"}))
    auth = evertoken.clients.aiohttp.bearer_auth(manager_of(token_server))

    async def main() -> None:
        jar = aiohttp.CookieJar(unsafe=True)  # of an IP address
        async with aiohttp.ClientSession(middlewares=[auth], cookie_jar=jar) as session:
            for _ in range(2):
                async with session.get(token_server.api_url):
                    pass

    asyncio.run(main())
    assert token_server.api.requests[-1].headers["Cookie"] == "session=new"


def test_a_task_of_aiohttp_that_is_cancelled_after_a_401_closes_that_answer(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = manager_of(token_server)
    manager.token()
    token_server.api.answer_next(Answer(401, (), bytes(4 << 20)))
    token_server.answer_next(Hang())
    auth = evertoken.clients.aiohttp.bearer_auth(manager)
    closed: list[int] = []
    close = aiohttp.ClientResponse.close

    def noted(response: aiohttp.ClientResponse) -> None:
        closed.append(response.status)
        close(response)

    monkeypatch.setattr(aiohttp.ClientResponse, "close", noted)

    async def main() -> None:
        async with aiohttp.ClientSession(middlewares=[auth]) as session:
            call = asyncio.create_task(session.get(token_server.api_url))
            await asyncio.to_thread(token_server.wait_for_held)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            assert closed == [401]

    asyncio.run(main())
    token_server.release()


AT_EXIT = """
import asyncio, atexit, sys
import httpx
from evertoken import PasswordGrant, TokenManager
from evertoken.clients.httpx import BearerAuth

token_url, api_url, client_id, client_secret, username, password = sys.argv[1:]
grant = PasswordGrant(token_url, client_id=client_id, client_secret=client_secret,
                      username=username, password=password)
auth = BearerAuth(TokenManager(grant))

async def last_call():
    async with httpx.AsyncClient(auth=auth, timeout=20) as http:
        print((await http.get(api_url)).status_code)

atexit.register(lambda: asyncio.run(last_call()))
"""


def test_a_loop_at_the_exit_of_the_interpreter_gets_its_token(token_server: TokenServer) -> None:
    server = token_server
    account = [server.client_id, server.client_secret, server.username, server.password]
    ran = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-c", AT_EXIT, server.token_url, server.api_url, *account],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("200\n", "")
