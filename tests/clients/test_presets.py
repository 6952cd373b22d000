"""The SquadRun presets of every client: a 401 and a 403 both mean a dead token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from evertoken import MemoryStore, squadrun
from support.any_client import CLIENTS

if TYPE_CHECKING:
    from evertoken.testing import TokenServer

PRESETS = {
    "requests": squadrun.auth,
    "httpx": squadrun.httpx_auth,
    "httpx2": squadrun.httpx2_auth,
    "aiohttp": squadrun.aiohttp_auth,
    "niquests": squadrun.niquests_auth,
}


@pytest.mark.parametrize("status", [401, 403])
# an asynchronous session of niquests needs an auth of another class
@pytest.mark.parametrize("name", [it for it in CLIENTS if it != "niquests-async"])
def test_a_dead_token_is_replaced(token_server: TokenServer, name: str, status: int) -> None:
    client = CLIENTS[name]()
    token_server.denial_status = 403 if status == 403 else 401
    auth = PRESETS[client.package](
        client_id=token_server.client_id,
        client_secret=token_server.client_secret,
        username=token_server.username,
        password=token_server.password,
        base_url=token_server.base_url,
        memory=MemoryStore(),
    )
    assert client.send(auth, "GET", token_server.api_url).status == 200
    token_server.revoke_all()
    assert client.send(auth, "GET", token_server.api_url).status == 200
    assert [len(token_server.api.requests), token_server.grants] == [3, 2]
