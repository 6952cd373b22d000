"""The packages of model providers, whose tokens are renewed and revoked under them."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from evertoken.clients.httpx2 import BearerAuth
from support.http_clients import manager_of
from support.own_environment import own_environment

if TYPE_CHECKING:
    from evertoken import TokenManager
    from evertoken.testing import TokenServer

ROOT = Path(__file__).parents[2]

IS_THERE = find_spec("openai") is not None and find_spec("anthropic") is not None

only_there = pytest.mark.skipif(
    not IS_THERE, reason="openai and anthropic are not installed: these run in their environment"
)

KINDS = [("openai", "OpenAI"), ("anthropic", "Anthropic")]


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.skipif(IS_THERE, reason="this is that environment")
def test_real_clients_run_in_an_environment_of_their_own() -> None:
    with own_environment("openai>=3", "anthropic>=2", what="openai", with_suite=True) as python:
        ran = subprocess.run(  # noqa: S603  this project's tests
            [str(python), "-m", "pytest", "-pno:cacheprovider", "-Wignore", __file__],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout
    assert "4 passed" in ran.stdout


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
