"""One login with a rotating refresh token, at a server that revokes the family on reuse."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import (
    BearerAuth,
    ConfigurationError,
    FileStore,
    GrantRefused,
    GrantUnavailable,
    MemoryStore,
    PasswordGrant,
    RefreshPolicy,
    RefreshTokenGrant,
    TokenManager,
)
from evertoken.events import LoginEnding
from evertoken.runtime import reports
from evertoken.stores.redis import RedisStore
from evertoken.testing import Answer, Cut
from evertoken.testing.threads import in_threads
from support.fleet import eventually
from support.http_clients import WAIT
from support.logs import warned
from support.values import pickled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from evertoken.core.login import Login
    from evertoken.events import Event
    from evertoken.grants.credentials import Secret
    from evertoken.ports import TokenStore
    from evertoken.testing import TokenServer

URL = "https://id.example.com/token"
POLICY = RefreshPolicy(recheck=0.05, retry_after=0.05, retry_after_max=0.1)


@pytest.fixture
def server(token_server: TokenServer) -> TokenServer:
    token_server.reuse_protection = True
    return token_server


def grant_of(
    server: TokenServer, refresh_token: Secret | None = None, **options: Any
) -> RefreshTokenGrant:
    given = {"client_secret": server.client_secret, "account": "ann", **options}
    return RefreshTokenGrant(
        server.token_url,
        client_id=server.client_id,
        refresh_token=refresh_token,
        revoke_url=server.revoke_url,
        deadline=WAIT,
        **given,
    )


def process_of(
    grant: RefreshTokenGrant, store: TokenStore, on_event: Callable[[Event], None] | None = None
) -> TokenManager:
    """A manager as another process has it: with a memory of its own."""
    return TokenManager(
        grant, store=store, memory=MemoryStore(), policy=POLICY, timeout=WAIT, on_event=on_event
    )


def login_in(store: TokenStore, grant: RefreshTokenGrant) -> Login:
    entry = store.load(grant.key)
    assert entry is not None
    assert entry.login is not None
    return entry.login


def fallback_of(server: TokenServer) -> PasswordGrant:
    return PasswordGrant(
        server.token_url,
        client_id=server.client_id,
        client_secret=server.client_secret,
        username=server.username,
        password=server.password,
    )


# -- renewals --------------------------------------------------------------------------------------


def test_each_renewal_spends_the_newest_refresh_token(server: TokenServer, tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    manager = process_of(grant_of(server, server.log_in()), store)
    found = [manager.refresh() for _ in range(4)]
    posted = [each.form["refresh_token"][0] for each in server.token_endpoint.requests]
    assert posted[1:] == [each.refresh_token for each in found[:-1]]
    assert login_in(store, grant_of(server)).refresh_token == found[-1].refresh_token
    assert server.reuses == 0


def test_processes_share_one_login(server: TokenServer, tmp_path: Path) -> None:
    first = server.log_in()
    managers = [
        process_of(grant_of(server, first), FileStore(tmp_path / "tokens")) for _ in range(6)
    ]
    for lifetime in range(3):
        turns = iter(managers)
        assert len(set(map(str, in_threads(6, lambda it=turns: next(it).token().value)))) == 1  # type: ignore[misc]  # a callable without arguments
        assert server.token_requests == lifetime + 1
        managers[0].invalidate(managers[0].token())
        # until then, siblings may still send the old token
        time.sleep(POLICY.recheck)
    assert server.reuses == 0


def test_a_process_without_the_first_token_uses_that_of_the_store(
    server: TokenServer, tmp_path: Path
) -> None:
    process_of(grant_of(server, server.log_in()), FileStore(tmp_path)).token()
    later = process_of(grant_of(server), FileStore(tmp_path))
    assert later.refresh().value
    assert server.reuses == 0


def test_two_accounts_of_one_client_never_share_a_login(
    server: TokenServer, tmp_path: Path
) -> None:  # S49
    store = FileStore(tmp_path)
    ann, bob = (
        process_of(grant_of(server, server.log_in(), account=name), store)
        for name in ("ann", "bob")
    )
    assert ann.token().value != bob.token().value
    assert ann.refresh().refresh_token != bob.refresh().refresh_token
    assert server.reuses == 0


def test_inside_a_process_a_name_alone_does_not_receive_the_token(
    server: TokenServer, tmp_path: Path
) -> None:  # S50
    memory, store = MemoryStore(), FileStore(tmp_path)
    first = server.log_in()
    ann = TokenManager(grant_of(server, lambda: first), store=store, memory=memory)
    ann.token()
    for forged in (
        grant_of(server, lambda: "forged-by-callable"),
        grant_of(server, "forged-refresh-token"),
        grant_of(server, "forged-refresh-token", client_secret="a-guess"),
    ):
        with pytest.raises(GrantRefused):
            TokenManager(forged, store=store, memory=memory, policy=POLICY).token()
    assert ann.refresh().value


def test_a_refused_first_token_leaves_the_login_that_works_and_is_told(
    server: TokenServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process_of(grant_of(server, server.log_in()), FileStore(tmp_path)).token()
    manager = process_of(grant_of(server, "never-valid-token"), FileStore(tmp_path))
    assert manager.refresh().value
    assert [each.getMessage().split(":")[0] for each in warned(caplog)] == [
        "the login of the store is used instead"
    ]
    assert manager.refresh().value
    assert server.token_requests == 4


def test_a_server_that_does_not_rotate_keeps_the_refresh_token(
    server: TokenServer, tmp_path: Path
) -> None:  # S12
    server.token_endpoint.answer_always(Answer.json({"access_token": "a", "expires_in": 60}))
    first = server.log_in()
    store = FileStore(tmp_path)
    manager = process_of(grant_of(server, first), store)
    manager.token()
    manager.refresh()
    posted = [each.form["refresh_token"] for each in server.token_endpoint.requests]
    assert posted == [[first], [first]]


def test_a_lost_answer_costs_no_login_within_the_grace_period(
    server: TokenServer, tmp_path: Path
) -> None:
    server.grace = 10.0
    server.token_endpoint.answer_next(Cut("head", keep=0))
    manager = process_of(grant_of(server, server.log_in()), FileStore(tmp_path))
    assert manager.token().value
    assert server.token_requests == 2
    assert manager.refresh().value
    assert server.reuses == 0


def test_a_call_of_an_api_succeeds_though_a_renewal_ends_the_token_that_is_sent(
    server: TokenServer, tmp_path: Path
) -> None:
    first = server.log_in()
    mine, theirs = (process_of(grant_of(server, first), FileStore(tmp_path)) for _ in range(2))
    with requests.Session() as session:
        session.auth = BearerAuth(mine, origins=[server.base_url])
        assert session.get(server.api_url, timeout=WAIT).status_code == 200
        theirs.refresh()
        assert session.get(server.api_url, timeout=WAIT).status_code == 200
    assert (server.token_requests, server.reuses) == (2, 0)


def test_a_new_first_token_starts_a_new_login(server: TokenServer, tmp_path: Path) -> None:
    current = [server.log_in()]
    manager = process_of(grant_of(server, lambda: current[0]), FileStore(tmp_path))
    manager.token()
    current.append(current.pop(0))
    current[0] = server.log_in()
    manager.refresh()
    assert server.token_endpoint.requests[-1].form["refresh_token"] == [current[0]]


# -- bad input: each of the seven has its outcome --------------------------------------------------


def refused(manager: TokenManager) -> GrantRefused:
    with pytest.raises(GrantRefused, match="log in again") as caught:
        manager.token()
    return caught.value


def test_1_a_refresh_token_that_was_never_valid_is_posted_once_by_the_fleet(
    server: TokenServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        manager = process_of(grant_of(server, "never-valid-token"), FileStore(tmp_path))
        for _ in range(2):
            error = refused(manager)
            assert "never-valid" not in str(error)
            assert str(error).startswith(f"ann at {server.token_url}")
    assert server.token_requests == 1
    assert "never-valid" not in caplog.text


def test_2_a_login_that_has_ended_is_latched_until_somebody_logs_in(
    server: TokenServer, tmp_path: Path
) -> None:
    current = [server.log_in()]
    mine = process_of(grant_of(server, lambda: current[0]), FileStore(tmp_path))
    theirs = process_of(grant_of(server), FileStore(tmp_path))
    mine.token()
    server.revoke_all()
    mine.invalidate(mine.token())
    for manager in (mine, theirs, mine, theirs):
        refused(manager)
    assert server.token_requests == 2
    current[0] = server.log_in()
    for manager in (mine, theirs):
        eventually(lambda it=manager: _has_token(it))  # type: ignore[misc]  # likewise
    assert server.token_requests == 3


def _has_token(manager: TokenManager) -> bool:
    try:
        return bool(manager.token().value)
    except GrantRefused:
        time.sleep(0.02)
        return False


def test_3_a_client_that_the_server_does_not_know_leaves_the_login(
    server: TokenServer, tmp_path: Path
) -> None:
    store = FileStore(tmp_path)
    process_of(grant_of(server, server.log_in()), store).token()
    before = login_in(store, grant_of(server))
    stranger = process_of(grant_of(server, client_secret="wrong-secret"), FileStore(tmp_path))
    with pytest.raises(GrantRefused, match="client secret"):
        stranger.refresh()
    assert login_in(store, grant_of(server)).refresh_token == before.refresh_token
    assert process_of(grant_of(server), store).refresh().value


def test_4_with_a_store_that_cannot_be_written_nothing_is_sent(
    server: TokenServer, tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    folder.write_text("a file is in the way")
    manager = process_of(grant_of(server, server.log_in()), FileStore(folder))
    with pytest.raises(GrantUnavailable, match="the refresh token was not sent"):
        manager.token()
    assert server.token_requests == 0


def test_5_a_store_that_lost_everything_is_given_the_newest_refresh_token_again(
    server: TokenServer, tmp_path: Path
) -> None:
    store = FileStore(tmp_path)
    grant = grant_of(server, server.log_in())
    manager = process_of(grant, store)
    newest = manager.token().refresh_token
    store.path(grant.key).unlink()

    def saved_again() -> bool:
        manager.token()
        entry = store.load(grant.key)
        return entry is not None and entry.login is not None

    eventually(saved_again)
    assert login_in(store, grant).refresh_token == newest


def test_6_of_two_logins_into_one_account_the_newer_one_wins(
    server: TokenServer, tmp_path: Path
) -> None:
    old, new = server.log_in(), server.log_in()
    store = FileStore(tmp_path)
    process_of(grant_of(server, old), store).token()
    process_of(grant_of(server, new), store).refresh()
    # a process that still has the old one configured
    late = process_of(grant_of(server, old), FileStore(tmp_path))
    late.refresh()
    posted = [each.form["refresh_token"][0] for each in server.token_endpoint.requests]
    assert posted[:2] == [old, new]
    assert posted[2] not in {old, new}
    assert server.reuses == 0


@pytest.mark.parametrize("grace", [0.0, 60.0])
def test_7_a_file_restored_from_a_backup_brings_back_no_spent_token_while_a_process_lives(
    server: TokenServer, tmp_path: Path, grace: float
) -> None:
    server.grace = grace
    store = FileStore(tmp_path)
    grant = grant_of(server, server.log_in())
    manager = process_of(grant, store)
    manager.token()
    backup = store.path(grant.key).read_bytes()
    newest = manager.refresh().refresh_token
    store.path(grant.key).write_bytes(backup)
    manager.refresh()
    assert server.token_endpoint.requests[-1].form["refresh_token"] == [newest]
    assert server.reuses == 0


def test_7_without_a_process_that_knows_better_the_restored_token_ends_the_login(
    server: TokenServer, tmp_path: Path
) -> None:
    store = FileStore(tmp_path)
    grant = grant_of(server, server.log_in())
    manager = process_of(grant, store)
    manager.token()
    backup = store.path(grant.key).read_bytes()
    manager.refresh()
    store.path(grant.key).write_bytes(backup)
    del manager
    restored = process_of(grant_of(server), FileStore(tmp_path))
    with pytest.raises(GrantRefused, match="log in again"):
        restored.refresh()
    assert server.reuses == 1
    # the password of a fallback mends it
    mended = process_of(grant_of(server, fallback=fallback_of(server)), FileStore(tmp_path))
    assert mended.token().value


# -- a fallback ------------------------------------------------------------------------------------


def test_a_fallback_logs_in_and_its_login_is_renewed(server: TokenServer, tmp_path: Path) -> None:
    manager = process_of(grant_of(server, fallback=fallback_of(server)), FileStore(tmp_path))
    manager.token()
    manager.refresh()
    server.revoke_all()
    manager.refresh()
    kinds = [each.form["grant_type"][0] for each in server.token_endpoint.requests]
    assert kinds == ["password", "refresh_token", "refresh_token", "password"]


def test_a_password_that_cannot_be_read_stops_no_refresh(
    server: TokenServer, tmp_path: Path
) -> None:
    def missing() -> str:
        raise LookupError("no such secret")

    fallback = PasswordGrant(
        server.token_url, client_id=server.client_id, username="ann", password=missing
    )
    manager = process_of(grant_of(server, server.log_in(), fallback=fallback), FileStore(tmp_path))
    assert manager.token().value
    server.revoke_all()
    with pytest.raises(GrantUnavailable, match="could not read the password"):
        manager.refresh()


def test_a_new_password_ends_the_cool_down_of_a_fallback(
    server: TokenServer, tmp_path: Path
) -> None:  # S48
    password = ["wrong-password"]
    fallback = PasswordGrant(
        server.token_url,
        client_id=server.client_id,
        client_secret=server.client_secret,
        username=server.username,
        password=lambda: password[0],
    )
    manager = process_of(grant_of(server, fallback=fallback), FileStore(tmp_path))
    for _ in range(3):
        with pytest.raises(GrantRefused):
            manager.token()
    assert server.token_requests == 1
    password[0] = server.password
    eventually(lambda: _has_token(manager))


# -- its end, and other ends -----------------------------------------------------------------------


def test_a_revocation_ends_the_login_also_without_an_access_token(
    server: TokenServer, tmp_path: Path
) -> None:  # S39
    store = FileStore(tmp_path)
    manager = process_of(grant_of(server, server.log_in()), store)
    manager.invalidate(manager.token())
    manager.revoke()
    [revoked] = server.revocation_endpoint.requests
    assert revoked.form["token_type_hint"] == ["refresh_token"]
    assert login_in(store, grant_of(server)).refresh_token is None
    refused(manager)


@pytest.mark.parametrize("name", ["refresh_token_expires_in", "refresh_expires_in"])
def test_the_end_of_the_refresh_token_is_kept_where_the_server_names_it(
    server: TokenServer, tmp_path: Path, name: str
) -> None:
    server.extra = {name: 86_400}
    store = FileStore(tmp_path)
    process_of(grant_of(server, server.log_in()), store).token()
    assert login_in(store, grant_of(server)).expires_at == pytest.approx(
        time.time() + 86_400, abs=WAIT
    )


def test_the_end_of_a_login_is_told_once_ahead_where_renewals_do_not_prolong_it(
    server: TokenServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    ends = time.time() + 86_400
    manager = process_of(grant_of(server, server.log_in()), FileStore(tmp_path), events.append)
    for _ in range(4):
        server.extra = {"refresh_token_expires_in": ends - time.time()}
        manager.refresh()
    eventually(lambda: any(isinstance(each, LoginEnding) for each in events))
    [told] = [each for each in events if isinstance(each, LoginEnding)]
    assert told.expires_at == pytest.approx(ends, abs=WAIT)
    assert (told.account, told.token_url) == ("ann", server.token_url)
    assert manager.status().login_expires_at == pytest.approx(ends, abs=WAIT)
    assert "log in again" in warned(caplog)[0].getMessage()


@pytest.mark.parametrize("lifetime", [1800, 30 * 86_400])
def test_an_end_that_renewals_prolong_or_that_is_far_away_is_not_told(
    server: TokenServer, tmp_path: Path, lifetime: int
) -> None:
    events: list[Event] = []
    frozen = 0.0
    manager = process_of(grant_of(server, server.log_in()), FileStore(tmp_path), events.append)
    for _ in range(3):
        # what a later renewal would be told
        server.extra = {"refresh_token_expires_in": lifetime + frozen}
        manager.refresh()
        frozen += 300 if lifetime == 1800 else 0
    reports.catch_up(WAIT)
    assert not any(isinstance(each, LoginEnding) for each in events)
    assert manager.status().login_expires_at is not None


@pytest.mark.parametrize("value", [0, -1, True, "soon", None, 1e300, [1]])
def test_an_end_that_makes_no_sense_is_left_out(
    server: TokenServer, tmp_path: Path, value: Any
) -> None:
    server.extra = {"refresh_expires_in": value}
    store = FileStore(tmp_path)
    process_of(grant_of(server, server.log_in()), store).token()
    assert login_in(store, grant_of(server)).expires_at is None


def test_no_file_holds_the_first_refresh_token_once_it_is_spent(
    server: TokenServer, tmp_path: Path
) -> None:  # S47
    first = server.log_in()
    store = FileStore(tmp_path)
    process_of(grant_of(server, first), store).token()
    content = store.path(grant_of(server).key).read_text()
    assert first not in content
    assert json.loads(content)["login"]["initials"]


# -- configuration ---------------------------------------------------------------------------------


def test_a_store_is_required(server: TokenServer) -> None:
    with pytest.raises(ConfigurationError, match="RefreshTokenGrant needs a store"):
        TokenManager(grant_of(server, "first"))


def test_the_lease_of_a_store_must_outlast_a_request(server: TokenServer) -> None:
    store = RedisStore("redis://127.0.0.1:1", lease=WAIT)
    with pytest.raises(ConfigurationError, match=r"the lease of the store \(20 s\)"):
        TokenManager(grant_of(server, "first"), store=store)
    TokenManager(grant_of(server, "first"), store=RedisStore("redis://127.0.0.1:1"))


def test_literal_refresh_tokens_do_not_travel() -> None:  # F7
    grant = RefreshTokenGrant(URL, account="ann", client_id="c", refresh_token="planted-token")
    with pytest.raises(TypeError, match="refresh_token as text does not pickle"):
        pickled(grant)
    assert "planted" not in repr(grant)
    assert pickled(RefreshTokenGrant(URL, account="ann", client_id="c")).key == grant.key


def test_nothing_is_warned_about_in_a_sound_life(
    server: TokenServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = process_of(grant_of(server, server.log_in()), FileStore(tmp_path))
    manager.token()
    manager.refresh()
    assert warned(caplog) == []


def test_an_error_names_the_account_before_the_credentials_are_read(  # S64
    server: TokenServer, tmp_path: Path
) -> None:
    def missing() -> str:
        raise LookupError

    manager = process_of(grant_of(server, "first", client_secret=missing), FileStore(tmp_path))
    with pytest.raises(GrantUnavailable) as caught:
        manager.refresh()
    assert str(caught.value).startswith(f"ann at {server.token_url}: could not read the client")
