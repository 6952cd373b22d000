"""Rotating refresh tokens, services and devices at Django OAuth Toolkit, as users have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import (
    BearerAuth,
    ClientCredentialsGrant,
    FileStore,
    GrantRefused,
    MemoryStore,
    PasswordGrant,
    RefreshTokenGrant,
    TokenManager,
)
from evertoken.sandbox import Sandbox, serve
from evertoken.sandbox.environment import (
    CLIENT_ID,
    CLIENT_SECRET,
    PASSWORD,
    SERVICE_ID,
    SERVICE_SECRET,
    USERNAME,
)
from evertoken.testing.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with serve(fast_hashing=True, refresh_rotation=True) as served:
        yield served


def refreshing(sandbox: Sandbox, folder: Path) -> TokenManager:
    """A process that shares the login in `folder`, which a password starts."""
    token_url = f"{sandbox.base_url}/oauth/token/"
    password = PasswordGrant(
        token_url,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        username=USERNAME,
        password=PASSWORD,
    )
    grant = RefreshTokenGrant(
        token_url,
        account=USERNAME,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        fallback=password,
    )
    return TokenManager(grant, store=FileStore(folder), memory=MemoryStore())


def test_many_processes_share_one_login(sandbox: Sandbox, tmp_path: Path) -> None:
    fleet = [refreshing(sandbox, tmp_path) for _ in range(5)]
    url = f"{sandbox.base_url}/api/v4/leads/responses/7/"
    before = sum(sandbox.stats().grants.values())
    for _ in range(3):
        turns = iter(fleet)

        def call(turns: Iterator[TokenManager] = turns) -> int:
            with requests.Session() as session:
                session.auth = BearerAuth(next(turns), origins=[sandbox.base_url])
                return session.get(url, timeout=30).status_code

        assert in_threads(5, call) == [200] * 5
        # each renewal here ends the token that the others still hold
        fleet[0].refresh()
    # the first login, three renewals, and none for a 401 of a sibling
    assert sum(sandbox.stats().grants.values()) - before == 4


def test_a_login_that_was_ended_elsewhere_is_started_again_by_the_fallback(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    manager = refreshing(sandbox, tmp_path)
    stolen = manager.token().refresh_token
    manager.refresh()
    form = {"grant_type": "refresh_token", "refresh_token": stolen or ""}
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    reused = requests.post(f"{sandbox.base_url}/oauth/token/", {**form, **client}, timeout=30)
    assert reused.status_code == 400
    assert manager.refresh().value


def test_a_service_asks_with_its_own_credentials(sandbox: Sandbox) -> None:
    url = f"{sandbox.base_url}/oauth/token/"
    grant = ClientCredentialsGrant(url, client_id=SERVICE_ID, client_secret=SERVICE_SECRET)
    for method in ("body", "basic", "basic-raw"):
        again = ClientCredentialsGrant(
            url, client_id=SERVICE_ID, client_secret=SERVICE_SECRET, client_auth=method
        )
        assert again.request().lifetime == grant.request().lifetime == 36_000
    with pytest.raises(GrantRefused):
        ClientCredentialsGrant(url, client_id=SERVICE_ID, client_secret="wrong").request()
