"""A manager pickles as its configuration: no token, no secret, no lock."""

from __future__ import annotations

import copy
import os
import pickle
from typing import TYPE_CHECKING

import pytest

from evertoken import (
    FileStore,
    GrantRefused,
    MemoryStore,
    PasswordGrant,
    RefreshPolicy,
    TokenManager,
    squadrun,
)
from evertoken.testing import TokenServer
from support.fleet import CountingGrant, eventually, sibling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def secret() -> str:
    return os.environ["TEST_FLEET_PASSWORD"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    with TokenServer() as server:
        monkeypatch.setenv("TEST_FLEET_PASSWORD", server.password)
        yield server


def grant_of(server: TokenServer, **options: object) -> PasswordGrant:
    given: dict[str, object] = {
        "client_id": server.client_id,
        "client_secret": None,
        "username": server.username,
        "password": secret,
        **options,
    }
    return PasswordGrant(server.token_url, **given)  # type: ignore[arg-type]  # as the test says


def there_and_back(manager: TokenManager) -> TokenManager:
    travelled = pickle.loads(pickle.dumps(manager))  # noqa: S301  our own bytes
    assert isinstance(travelled, TokenManager)
    return travelled


@pytest.mark.parametrize("travel", [there_and_back, copy.copy, copy.deepcopy])
def test_only_the_configuration_is_pickled(  # F7
    server: TokenServer, tmp_path: Path, travel: Callable[[TokenManager], TokenManager]
) -> None:
    server.client_secret = ""
    manager = TokenManager(
        grant_of(server),
        store=FileStore(tmp_path),
        memory=MemoryStore(7),
        policy=RefreshPolicy(recheck=0.5),
        timeout=7.0,
    )
    token = manager.token()
    travelled = travel(manager)
    assert travelled.policy == manager.policy
    assert travelled.timeout == 7.0
    assert repr(travelled.store) == repr(manager.store)
    assert travelled.status().state == "none"
    assert travelled.renewer is not manager.renewer
    # it finds the token again in its folder
    assert travelled.token() == token
    assert server.token_requests == 1


def test_no_secret_is_in_the_pickle(server: TokenServer, tmp_path: Path) -> None:  # F7, S46
    server.client_secret = ""
    manager = TokenManager(grant_of(server), store=FileStore(tmp_path), memory=MemoryStore())
    manager.token()
    data = pickle.dumps(manager)
    assert not [value for value in server.secrets - {""} if value.encode() in data]


@pytest.mark.parametrize("name", ["password", "client_secret"])
def test_a_literal_secret_does_not_pickle_and_the_error_names_the_remedy(  # F7
    server: TokenServer, name: str
) -> None:
    manager = TokenManager(grant_of(server, **{name: "T0psecret"}), memory=MemoryStore())
    with pytest.raises(TypeError, match="callable") as caught:
        pickle.dumps(manager)
    assert name in str(caught.value)
    assert "SQUADRUN_" in str(caught.value)
    assert "T0psecret" not in str(caught.value)


def test_a_manager_with_credentials_from_the_environment_pickles(  # F7
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("client_id", "client_secret", "username", "password"):
        monkeypatch.setenv(f"SQUADRUN_{name.upper()}", getattr(server, name))
    manager = squadrun.manager(base_url=server.base_url, memory=MemoryStore())
    assert there_and_back(manager).token().value in server.secrets


def test_a_refused_manager_pickles_without_the_hash_of_its_password(
    server: TokenServer, tmp_path: Path
) -> None:
    server.client_secret = ""
    server.refuse("invalid_grant")
    grant = grant_of(server)
    manager = TokenManager(grant, store=FileStore(tmp_path), memory=MemoryStore())
    with pytest.raises(GrantRefused, match="invalid_grant"):
        manager.token()
    # computed after the caller was released, for siblings that share the folder
    eventually(lambda: grant._last_tag is not None)
    assert grant._last_tag is not None
    assert grant._last_tag[1] not in pickle.dumps(manager)


def test_a_token_does_not_pickle() -> None:
    token = sibling(CountingGrant()).token()
    with pytest.raises(TypeError, match="send the manager"):
        pickle.dumps(token)
    assert copy.copy(token) is copy.deepcopy(token) is token
