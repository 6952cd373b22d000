"""The packages of model providers, whose tokens are renewed and revoked under them."""

from __future__ import annotations

import asyncio
import importlib
import socket
import subprocess
import threading
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import requests

from evertoken.clients.httpx2 import BearerAuth
from support.http_clients import manager_of
from support.own_environment import own_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken import TokenManager
    from evertoken.testing import TokenServer

ROOT = Path(__file__).parents[2]

IS_THERE = all(find_spec(name) is not None for name in ("openai", "anthropic", "mcp"))

only_there = pytest.mark.skipif(
    not IS_THERE, reason="openai, anthropic and mcp are not installed: these run in an own one"
)

PACKAGES = ("openai>=3", "anthropic>=2", "mcp>=2")

KINDS = [("openai", "OpenAI"), ("anthropic", "Anthropic")]


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.skipif(IS_THERE, reason="this is that environment")
def test_real_clients_run_in_an_environment_of_their_own() -> None:
    with own_environment(*PACKAGES, what="openai", with_suite=True) as python:
        ran = subprocess.run(  # noqa: S603  this project's tests
            [str(python), "-m", "pytest", "-pno:cacheprovider", "-Wignore", __file__],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout
    assert "5 passed" in ran.stdout


def disturbances(manager: TokenManager, server: TokenServer) -> list[Any]:
    """What happens to the token between the calls."""
    return [manager.refresh, server.revoke_all, manager.refresh]


def checked(server: TokenServer, calls: int) -> None:
    """The dead token cost one replay, and no header of the client's own was sent."""
    assert len(server.api.requests) == calls + 1
    sent = {request.headers["Authorization"] for request in server.api.requests}
    assert all("placeholder" not in header for header in sent)


@only_there
@pytest.mark.parametrize(("package", "kind"), KINDS)
def test_no_call_of_a_thread_fails(token_server: TokenServer, package: str, kind: str) -> None:
    manager = manager_of(token_server)
    with httpx2.Client(auth=BearerAuth(manager)) as http:
        made = getattr(importlib.import_module(package), kind)
        client = made(
            base_url=token_server.base_url, api_key="placeholder", max_retries=0, http_client=http
        )
        for disturb in [lambda: None, *disturbances(manager, token_server)]:
            disturb()
            answer = client.post("/api/v4/leads/", cast_to=httpx2.Response, body={"lead": 7})
            assert answer.status_code == 200
    checked(token_server, 4)


@only_there
@pytest.mark.parametrize(("package", "kind"), KINDS)
def test_no_call_of_a_task_fails(token_server: TokenServer, package: str, kind: str) -> None:
    manager = manager_of(token_server)

    async def main() -> None:
        async with httpx2.AsyncClient(auth=BearerAuth(manager)) as http:
            made = getattr(importlib.import_module(package), f"Async{kind}")
            client = made(
                base_url=token_server.base_url,
                api_key="placeholder",
                max_retries=0,
                http_client=http,
            )
            for disturb in [lambda: None, *disturbances(manager, token_server)]:
                await asyncio.to_thread(disturb)
                answer = await client.post(
                    "/api/v4/leads/", cast_to=httpx2.Response, body={"lead": 7}
                )
                assert answer.status_code == 200

    asyncio.run(main())
    checked(token_server, 4)


class Verifier:
    """What an MCP server asks about a token: the API of `server` accepts it."""

    def __init__(self, server: TokenServer) -> None:
        self._url = server.api_url

    async def verify_token(self, token: str) -> object:
        """The token's client, or None."""
        provider: Any = importlib.import_module("mcp.server.auth.provider")
        header = {"Authorization": f"Bearer {token}"}
        answer = await asyncio.to_thread(requests.get, self._url, headers=header, timeout=10)
        return provider.AccessToken(token=token, client_id="c", scopes=[]) if answer.ok else None


@contextmanager
def mcp_server(server: TokenServer) -> Iterator[str]:
    """The URL of an MCP server with one tool, which takes the tokens of `server`."""
    uvicorn: Any = importlib.import_module("uvicorn")
    mcpserver: Any = importlib.import_module("mcp.server.mcpserver")
    settings: Any = importlib.import_module("mcp.server.auth.settings")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        auth = settings.AuthSettings(
            issuer_url=server.base_url, resource_server_url=url, validate_token_resource=False
        )
        made = mcpserver.MCPServer("sums", token_verifier=Verifier(server), auth=auth)
        made.tool()(add)
        serving = uvicorn.Server(uvicorn.Config(made.streamable_http_app(), log_level="warning"))
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield url
        finally:
            serving.should_exit = True
            thread.join(20)


def add(one: int, two: int) -> int:
    """Add two numbers."""
    return one + two


@only_there
def test_no_call_of_an_mcp_client_fails(token_server: TokenServer) -> None:
    mcp: Any = importlib.import_module("mcp")
    transport: Any = importlib.import_module("mcp.client.streamable_http")
    manager = manager_of(token_server)

    async def main(url: str) -> None:
        auth = BearerAuth(manager, origins=[url])
        async with (
            httpx2.AsyncClient(auth=auth) as http,
            mcp.Client(transport.streamable_http_client(url, http_client=http)) as client,
        ):
            for disturb in [lambda: None, *disturbances(manager, token_server)]:
                await asyncio.to_thread(disturb)
                answer = await client.call_tool("add", {"one": 3, "two": 4})
                assert [each.text for each in answer.content] == ["7"]

    with mcp_server(token_server) as url:
        asyncio.run(main(url))
    # the first one, two forced, and one for the revoked token
    assert token_server.grants == 4
