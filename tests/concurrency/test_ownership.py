"""Inside a process a token is given only to the credentials that own it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import (
    BearerAuth,
    FileStore,
    GrantRefused,
    MemoryStore,
    Token,
    TokenManager,
    TokenManagers,
)
from evertoken.ownership import Owner, source_of
from evertoken.runtime import process
from evertoken.stores.redis import RedisStore
from support.fleet import CountingGrant, eventually, in_threads
from support.http_clients import grant_of
from support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken import PasswordGrant
    from evertoken.ports import TokenStore
    from evertoken.testing import TokenServer

pytestmark = pytest.mark.usefixtures("no_floor")

WRONG = {
    "password": {"password": "a guess"},
    "client secret": {"client_secret": "a guess"},
    "both": {"password": "a guess", "client_secret": "another guess"},
    "password from a callable": {"password": lambda: "a guess"},
}


@pytest.fixture
def memory() -> MemoryStore:
    """The memory store shared by the managers of one process."""
    return MemoryStore()


@pytest.fixture(params=["memory", "file", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TokenStore | None]:
    """The store that the managers share in addition."""
    if request.param == "redis":
        with Valkey() as valkey:
            yield RedisStore(valkey.url)
    else:
        yield FileStore(tmp_path) if request.param == "file" else None


def intruder_at(server: TokenServer, wrong: str) -> PasswordGrant:
    return grant_of(server, **WRONG[wrong])  # type: ignore[arg-type]  # of the table above


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_password_does_not_receive_the_owners_token(  # S50
    token_server: TokenServer, memory: MemoryStore, store: TokenStore | None, wrong: str
) -> None:
    owner = TokenManager(grant_of(token_server), store=store, memory=memory)
    token = owner.token()
    intruder = TokenManager(intruder_at(token_server, wrong), store=store, memory=memory)

    for _ in range(3):
        with pytest.raises(GrantRefused):
            intruder.token()

    assert intruder.status().scope is None
    assert owner.token() == token
    assert token_server.grants == 1


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_password_does_not_revoke_the_owners_token(  # S50
    token_server: TokenServer, memory: MemoryStore, store: TokenStore | None, wrong: str
) -> None:
    owner = TokenManager(grant_of(token_server), store=store, memory=memory)
    token = owner.token()

    TokenManager(intruder_at(token_server, wrong), store=store, memory=memory).revoke()

    assert not token_server.revocation_endpoint.requests
    assert owner.refresh() != token
    assert TokenManager(grant_of(token_server), store=store, memory=memory).token().value


def test_a_wrong_password_is_refused_among_many_accounts_and_by_auth(  # S50
    token_server: TokenServer, memory: MemoryStore
) -> None:
    passwords = {"the owner": token_server.password, "an intruder": "a guess"}
    accounts = TokenManagers(
        lambda name: TokenManager(grant_of(token_server, password=passwords[name]), memory=memory)
    )
    url = token_server.api_url
    assert requests.get(url, auth=accounts["the owner"].auth, timeout=20).status_code == 200

    with pytest.raises(GrantRefused):
        requests.get(url, auth=accounts["an intruder"].auth, timeout=20)


def test_a_refused_intruder_leaves_the_owners_token_in_the_stores(  # S50
    token_server: TokenServer, memory: MemoryStore, tmp_path: Path
) -> None:
    token = TokenManager(grant_of(token_server), store=FileStore(tmp_path), memory=memory).token()
    intruder = TokenManager(
        grant_of(token_server, password="a guess"), store=FileStore(tmp_path), memory=memory
    )
    with pytest.raises(GrantRefused):
        intruder.token()

    with pytest.raises(GrantRefused):
        intruder.refresh()

    again = TokenManager(grant_of(token_server), memory=memory)
    elsewhere = TokenManager(
        grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore()
    )
    assert again.token() == token
    assert elsewhere.token() == token
    assert token_server.grants == 1


def test_the_owners_next_token_does_not_reach_an_intruder_through_the_store(  # S50
    token_server: TokenServer, memory: MemoryStore, tmp_path: Path
) -> None:
    owner = TokenManager(grant_of(token_server), store=FileStore(tmp_path), memory=memory)
    owner.token()
    intruder = TokenManager(
        grant_of(token_server, password="a guess"), store=FileStore(tmp_path), memory=memory
    )
    sibling = TokenManager(grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore())
    newer = sibling.refresh()

    eventually(lambda: owner.token() == newer)
    with pytest.raises(GrantRefused):
        intruder.token()


def test_a_wrong_password_that_waits_with_the_owner_sends_its_own_request(  # S50
    token_server: TokenServer, memory: MemoryStore
) -> None:
    token_server.latency = 0.3
    managers = iter(
        [
            TokenManager(grant_of(token_server, **changes), memory=memory)  # type: ignore[arg-type]
            for changes in ({}, {"password": "a guess"}, {}, {"password": "a guess"})
        ]
    )

    results = in_threads(4, lambda: next(managers).token())

    tokens = [result for result in results if isinstance(result, Token)]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1
    assert sum(isinstance(result, GrantRefused) for result in results) == 2


@pytest.mark.parametrize("way", ["equal text", "the same callable", "another callable", "mixed"])
def test_the_right_password_shares_the_token_however_it_is_given(
    token_server: TokenServer, memory: MemoryStore, way: str
) -> None:
    def password() -> str:
        return token_server.password

    given: dict[str, tuple[str | Callable[[], str], str | Callable[[], str]]] = {
        "equal text": (token_server.password, str(token_server.password)),
        "the same callable": (password, password),
        "another callable": (password, lambda: token_server.password),
        "mixed": (token_server.password, password),
    }
    first, second = (
        TokenManager(grant_of(token_server, password=secret), memory=memory)
        for secret in given[way]
    )

    assert first.token() == second.token()
    second.revoke()
    assert len(token_server.revocation_endpoint.requests) == 2
    assert token_server.grants == 1


def test_a_token_adopted_from_a_file_is_shared_with_callables_that_return_the_same(
    token_server: TokenServer, tmp_path: Path
) -> None:
    TokenManager(grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore()).token()
    memory = MemoryStore()

    tokens = {
        TokenManager(
            grant_of(token_server, password=lambda: token_server.password),
            store=FileStore(tmp_path),
            memory=memory,
        ).token()
        for _ in range(6)
    }

    assert len(tokens) == 1
    assert token_server.grants == 1


def test_a_warm_start_reads_no_password(token_server: TokenServer, tmp_path: Path) -> None:
    TokenManager(grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore()).token()
    asked: list[str] = []

    def password() -> str:
        asked.append("the password")
        return token_server.password

    grant, memory = grant_of(token_server, password=password), MemoryStore()
    for _ in range(2):
        TokenManager(grant, store=FileStore(tmp_path), memory=memory).token()

    assert not asked


def test_an_old_password_does_not_receive_the_token_of_the_new_one(  # S50
    token_server: TokenServer, memory: MemoryStore
) -> None:
    old = token_server.password
    secret = [old]
    rotating = TokenManager(grant_of(token_server, password=lambda: secret[0]), memory=memory)
    outdated = TokenManager(grant_of(token_server, password=old), memory=memory)
    assert rotating.token() == outdated.token()
    token_server.change_password("the new one")
    secret[0] = "the new one"
    newer = rotating.refresh()

    late = TokenManager(grant_of(token_server, password=old), memory=memory)

    with pytest.raises(GrantRefused):
        late.token()
    assert rotating.token() == newer


def test_between_processes_the_folder_is_the_boundary(
    token_server: TokenServer, tmp_path: Path
) -> None:
    token = TokenManager(
        grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore()
    ).token()

    first_there = TokenManager(
        grant_of(token_server, password="a guess"), store=FileStore(tmp_path), memory=MemoryStore()
    )

    assert first_there.token() == token


def test_a_manager_that_proves_its_credentials_adopts_nothing_before(  # S50
    token_server: TokenServer, tmp_path: Path
) -> None:
    stored = TokenManager(
        grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore()
    ).token()
    memory = MemoryStore()

    def proving(password: str) -> TokenManager:
        return TokenManager(
            grant_of(token_server, password=password),
            store=FileStore(tmp_path),
            memory=memory,
            prove_credentials=True,
        )

    with pytest.raises(GrantRefused):
        proving("a guess").token()
    proving("a guess").revoke()
    assert not token_server.revocation_endpoint.requests
    own = proving(token_server.password).token()
    assert own != stored
    # the proof counts for the whole process
    assert proving(token_server.password).token() == own
    with pytest.raises(GrantRefused):
        proving("a guess").token()
    assert token_server.grants == 2


def test_an_adopted_token_proves_nothing(token_server: TokenServer, tmp_path: Path) -> None:  # S50
    TokenManager(grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore()).token()
    memory = MemoryStore()
    guess = grant_of(token_server, password="a guess")
    TokenManager(guess, store=FileStore(tmp_path), memory=memory).token()

    proving = TokenManager(guess, store=FileStore(tmp_path), memory=memory, prove_credentials=True)

    with pytest.raises(GrantRefused):
        proving.token()


def test_a_revocation_with_the_same_password_from_another_callable_ends_the_token(
    token_server: TokenServer, tmp_path: Path
) -> None:
    TokenManager(grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore()).token()
    memory = MemoryStore()
    adopted, revoking = (
        TokenManager(
            grant_of(token_server, password=lambda: token_server.password),
            store=FileStore(tmp_path),
            memory=memory,
        )
        for _ in range(2)
    )
    adopted.token()

    revoking.revoke()

    assert len(token_server.revocation_endpoint.requests) == 2


def test_after_its_proof_a_manager_adopts_what_siblings_renew(
    token_server: TokenServer, tmp_path: Path
) -> None:
    manager = TokenManager(
        grant_of(token_server),
        store=FileStore(tmp_path),
        memory=MemoryStore(),
        prove_credentials=True,
    )
    manager.token()
    sibling = TokenManager(grant_of(token_server), store=FileStore(tmp_path), memory=MemoryStore())

    newer = sibling.refresh()

    eventually(lambda: manager.token() == newer)
    assert token_server.grants == 2


def test_a_grant_without_sources_is_distinguished_by_its_slow_hash(memory: MemoryStore) -> None:
    owner, intruder = CountingGrant(), CountingGrant()
    intruder.key = owner.key
    intruder.credentials = "others"
    token = TokenManager(owner, memory=memory).token()

    others = TokenManager(intruder, memory=memory).token()
    same = CountingGrant(key=owner.key)
    same.credentials = "others"

    assert others != token
    assert TokenManager(same, memory=memory).token() == others
    assert (owner.requests, intruder.requests, same.requests) == (1, 1, 0)


def test_forgetting_an_owner_drops_its_token(tmp_path: Path) -> None:  # S50
    memory = MemoryStore(maxsize=2)
    grant = CountingGrant()
    TokenManager(grant, memory=memory).token()
    # two more owners, whose tokens stay in their file
    for other in (CountingGrant(), CountingGrant()):
        TokenManager(other, store=FileStore(tmp_path), memory=MemoryStore()).token()
        TokenManager(other, store=FileStore(tmp_path), memory=memory).token()
    intruder = CountingGrant(key=grant.key)
    intruder.credentials = "others"

    TokenManager(intruder, memory=memory).token()

    assert intruder.requests == 1


def test_the_registry_holds_no_credential_as_text(token_server: TokenServer) -> None:  # S10
    memory = MemoryStore()
    grant = grant_of(token_server)
    TokenManager(grant, memory=memory).token()

    owner = memory.owner(grant.key)

    assert isinstance(owner, Owner)
    assert owner.proven
    assert all(isinstance(part, bytes) for part in source_of(grant))
    assert token_server.password not in repr(owner)
    assert token_server.client_secret not in repr(owner)


def test_a_forked_child_knows_the_owner(token_server: TokenServer, memory: MemoryStore) -> None:
    token = TokenManager(grant_of(token_server), memory=memory).token()

    process._forked()

    assert TokenManager(grant_of(token_server), memory=memory).token() == token
    with pytest.raises(GrantRefused):
        TokenManager(grant_of(token_server, password="a guess"), memory=memory).token()


def test_the_owners_auth_keeps_working_beside_an_intruder(
    token_server: TokenServer, memory: MemoryStore
) -> None:
    auth = BearerAuth(TokenManager(grant_of(token_server), memory=memory))
    intruder = TokenManager(grant_of(token_server, password="a guess"), memory=memory)
    for _ in range(3):
        assert requests.get(token_server.api_url, auth=auth, timeout=20).status_code == 200
        with pytest.raises(GrantRefused):
            intruder.token()
    # the wrong password once, the right one once
    assert token_server.token_requests == 2
