"""niquests, in an environment of its own: it brings another urllib3, which `requests` would use."""

from __future__ import annotations

import asyncio
import gc
import importlib
import pickle
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evertoken.testing import Answer
from support.http_clients import manager_of
from support.own_environment import own_environment

if TYPE_CHECKING:
    from evertoken.testing import TokenServer

ROOT = Path(__file__).parents[2]

IS_THERE = find_spec("niquests") is not None

only_there = pytest.mark.skipif(
    not IS_THERE, reason="niquests is not installed: these run in an environment of its own"
)


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.skipif(IS_THERE, reason="this is that environment")
def test_the_contract_holds_in_an_environment_that_has_niquests() -> None:
    # without the variable, its urllib3 replaces the one that requests uses
    packages = ("--no-binary=urllib3-future", "niquests>=3.15")
    with own_environment(
        *packages, what="niquests", with_suite=True, URLLIB3_NO_OVERRIDE="1"
    ) as python:
        ran = subprocess.run(  # noqa: S603  this project's tests
            [
                str(python),
                "-m",
                "pytest",
                "-q",
                "-pno:cacheprovider",
                "-kniquests",
                "tests/clients",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout
    assert " failed" not in ran.stdout


@pytest.fixture
def auths() -> Any:
    return importlib.import_module("evertoken.clients.niquests")


@pytest.fixture
def niquests() -> Any:
    return importlib.import_module("niquests")


# the session leaves its connection open after an exception of a hook
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@only_there
def test_an_asynchronous_session_names_the_auth_for_it(
    niquests: Any, auths: Any, token_server: TokenServer
) -> None:
    auth = auths.BearerAuth(manager_of(token_server))

    async def main() -> None:
        async with niquests.AsyncSession() as session:
            await session.get(token_server.api_url, auth=auth)

    with pytest.raises(TypeError, match="use AsyncBearerAuth"):
        asyncio.run(main())
    gc.collect()


@only_there
def test_a_request_pickles_without_its_manager(
    niquests: Any, auths: Any, token_server: TokenServer
) -> None:
    auth = auths.BearerAuth(manager_of(token_server))
    request = niquests.get(token_server.api_url, auth=auth).request
    hooks = pickle.loads(pickle.dumps(request.hooks))  # noqa: S301  it was made here
    assert hooks["response"][0]("unchanged") == "unchanged"


@only_there
def test_a_redirect_after_a_replay_carries_the_new_token(
    niquests: Any, auths: Any, token_server: TokenServer
) -> None:
    manager = manager_of(token_server)
    token_server.api.answer_next(Answer(401), Answer.redirect(token_server.api_url, status=307))
    with niquests.Session() as session:
        answer = session.get(token_server.api_url, auth=auths.BearerAuth(manager))

    assert answer.status_code == 200
    sent = [request.headers["Authorization"] for request in token_server.api.requests]
    assert len(sent) == 3
    assert sent[0] != sent[1] == sent[2]


@only_there
def test_a_prepared_request_that_is_sent_again_has_a_replay_of_its_own(
    niquests: Any, auths: Any, token_server: TokenServer
) -> None:
    manager = manager_of(token_server)
    with niquests.Session() as session:
        request = niquests.Request("GET", token_server.api_url, auth=auths.BearerAuth(manager))
        prepared = session.prepare_request(request)
        for _ in range(2):
            token_server.revoke_all()
            manager.invalidate(manager.token())
            assert session.send(prepared).status_code == 200
