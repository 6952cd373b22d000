"""Credentials are read once per renewal, for the identity, the request and a refusal."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, GrantRefused, MemoryStore, RefreshPolicy, TokenKey, TokenManager
from evertoken.engine import driver
from evertoken.testing import Answer, Hang, TokenServer
from support.fleet import CountingGrant, eventually, saved_refusal, sibling, token_in
from support.http_clients import grant_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evertoken.testing import Exchange
    from evertoken.testing.answers import Json, Step


class NamedAfterItsUser:
    """A grant whose tokens name their user."""

    lifetime = 3600

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        user = exchange.request.form["username"][0]
        body: Json = {
            "access_token": f"of-{user}",
            "token_type": "Bearer",
            "expires_in": self.lifetime,
        }
        return Answer.json(body).steps(exchange)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        server.token_endpoint.answer_always(NamedAfterItsUser())
        yield server


def manager_of(
    server: TokenServer, folder: Path, account: dict[str, str], **policy: float
) -> TokenManager:
    """A manager, as in its own process, whose credentials follow `account`."""
    grant = grant_of(
        server,
        username=lambda: account["username"],
        password=lambda: account["password"],
        client_id=lambda: account.get("client_id", server.client_id),
    )
    return TokenManager(
        grant,
        store=FileStore(folder),
        memory=MemoryStore(),
        policy=RefreshPolicy(**policy),
        timeout=20,
    )


def stored_for(server: TokenServer, folder: Path, username: str) -> str | None:
    """The stored token of `username`."""
    key = TokenKey(server.token_url, server.client_id, username)
    token = token_in(FileStore(folder), key)
    return None if token is None else token.value


def test_a_user_name_that_changes_behind_a_lock_stores_no_token_under_another(  # S49, S51
    server: TokenServer, tmp_path: Path
) -> None:
    account = {"username": "alice", "password": "p"}
    manager = manager_of(server, tmp_path, account)
    memory = manager.renewer.stores[0]
    with FileStore(tmp_path).lock(manager.grant.key, timeout=0):
        renewal = threading.Thread(target=manager.token)
        renewal.start()
        eventually(lambda: manager.status().renewing)
        # waits for the file's lock while it holds the memory's
        eventually(lambda: memory._locks)
        account["username"] = "bob"
    renewal.join(20)

    assert stored_for(server, tmp_path, "alice") in {None, "of-alice"}
    assert stored_for(server, tmp_path, "bob") in {None, "of-bob"}
    assert server.token_endpoint.requests[-1].form["username"] == ["alice"]


def test_a_user_name_that_changes_while_the_server_answers_stores_no_token_under_another(  # S49
    server: TokenServer, tmp_path: Path
) -> None:
    account = {"username": "alice", "password": "p"}
    manager = manager_of(server, tmp_path, account)
    server.token_endpoint.answer_next(Hang(then=NamedAfterItsUser()))
    renewal = threading.Thread(target=manager.token)
    renewal.start()
    server.wait_for_held(1)
    account["username"] = "bob"
    server.release()
    renewal.join(20)

    assert stored_for(server, tmp_path, "alice") == "of-alice"
    assert stored_for(server, tmp_path, "bob") is None


@pytest.mark.parametrize("refused", [False, True], ids=["granted", "refused"])
def test_nothing_is_carried_over_from_the_last_user_to_the_next(  # S49
    server: TokenServer, tmp_path: Path, *, refused: bool
) -> None:
    account = {"username": "alice", "password": "p"}
    manager = manager_of(server, tmp_path, account)
    assert manager.token().value == "of-alice"
    account["username"] = "bob"
    if refused:
        server.refuse("invalid_grant")
        with pytest.raises(GrantRefused):
            manager.refresh()
        with pytest.raises(GrantRefused):
            manager.token()
    else:
        assert manager.refresh().value == "of-bob"
        assert manager.token().value == "of-bob"

    assert stored_for(server, tmp_path, "alice") == "of-alice"
    assert stored_for(server, tmp_path, "bob") == (None if refused else "of-bob")


def test_a_refusal_is_remembered_under_the_password_that_was_posted(  # S51, F25
    server: TokenServer, tmp_path: Path
) -> None:
    account = {"username": "alice", "password": "the old one"}
    manager = manager_of(server, tmp_path, account, recheck=0.05)
    server.token_endpoint.answer_next(Hang(then=Answer.error("invalid_grant")))
    told: list[object] = []
    renewal = threading.Thread(target=lambda: told.append(outcome_of(manager)))
    renewal.start()
    server.wait_for_held(1)
    account["password"] = "the new one"
    server.release()
    renewal.join(20)
    assert isinstance(told[0], GrantRefused)

    # changed credentials are noticed within `recheck`, and in a new process at once
    eventually(lambda: outcome_of(manager) == "of-alice")
    other = manager_of(server, tmp_path, account)
    assert outcome_of(other) == "of-alice"
    posted = [request.form["password"] for request in server.token_endpoint.requests]
    assert posted == [["the old one"], ["the new one"]]


def test_a_new_process_does_not_post_the_password_that_was_refused(  # S48, S51
    server: TokenServer, tmp_path: Path
) -> None:
    account = {"username": "alice", "password": "the old one"}
    manager = manager_of(server, tmp_path, account)
    server.token_endpoint.answer_always(Answer.error("invalid_grant"))
    assert isinstance(outcome_of(manager), GrantRefused)

    refusal = saved_refusal(tmp_path, manager.grant.key)
    entry = FileStore(tmp_path).load(manager.grant.key)
    assert entry is not None
    assert refusal.credentials_hash == manager.grant.credentials_tag(entry.salt)
    assert isinstance(outcome_of(manager_of(server, tmp_path, account)), GrantRefused)
    assert server.token_requests == 1


def test_a_refusal_is_not_remembered_for_credentials_that_changed_before_their_hash(  # S51
    tmp_path: Path,
) -> None:
    # it has no `read()`, so its hash is of its current credentials
    grant = CountingGrant()
    grant.failure = GrantRefused("no", status=400, error="invalid_grant")
    manager = sibling(grant, tmp_path)
    with driver._slow_hash.turn:
        assert isinstance(outcome_of(manager), GrantRefused)
        grant.credentials, grant.failure = "corrected", None

    assert str(outcome_of(sibling(grant, tmp_path))).startswith("token-2-")


def test_each_credential_is_read_once_per_renewal(
    server: TokenServer, tmp_path: Path
) -> None:  # S51
    asked: list[str] = []

    def told(name: str, value: str) -> str:
        asked.append(name)
        return value

    grant = grant_of(
        server,
        username=lambda: told("username", "alice"),
        password=lambda: told("password", "p"),
        client_secret=lambda: told("client_secret", "s"),
    )
    manager = TokenManager(grant, store=FileStore(tmp_path), memory=MemoryStore())
    manager.token()
    asked.clear()

    manager.refresh()
    server.refuse("invalid_grant")
    with pytest.raises(GrantRefused):
        manager.refresh()

    assert sorted(asked) == sorted(["username", "password", "client_secret"] * 2)


def test_the_repr_of_a_reading_shows_no_credential(server: TokenServer) -> None:  # S46
    read = grant_of(server).read()

    assert server.password not in repr(read)
    assert server.client_secret not in repr(read)
    assert json.dumps(read.key.digest())


def outcome_of(manager: TokenManager) -> object:
    """The value of its token, or its refusal."""
    try:
        return manager.token().value
    except GrantRefused as error:
        return error
