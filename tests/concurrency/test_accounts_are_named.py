"""Records, errors, events and status of a renewal name the account and the token URL."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, get_args

import pytest
import requests

from evertoken import (
    BearerAuth,
    ClientCredentialsGrant,
    FileStore,
    MemoryStore,
    RefreshTimeout,
    RevocationFailed,
    TokenError,
    TokenManager,
    TokenManagers,
)
from evertoken.core.exchange import Exchange
from evertoken.events import Event, RenewalFailed, TokenRefused
from evertoken.status import Counters
from evertoken.testing import Answer
from support.fleet import eventually, saved_refusal
from support.http_clients import grant_of
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evertoken.testing import TokenServer

ACCOUNTS = ["acme-api", "globex-api", "initech-api"]


def manager_for(
    server: TokenServer,
    account: str,
    folder: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> TokenManager:
    grant = grant_of(server, username=account, password="p")
    store = None if folder is None else FileStore(folder)
    return TokenManager(grant, store=store, memory=MemoryStore(), on_event=on_event)


def error_of(manager: TokenManager) -> str:
    with pytest.raises(TokenError) as caught:
        manager.token()
    return str(caught.value)


@pytest.mark.parametrize("trouble", ["refused", "outage", "garbage"])
def test_an_error_and_its_record_name_account_and_token_url(  # S64
    token_server: TokenServer, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    if trouble == "outage":
        token_server.outage(503)
    elif trouble == "garbage":
        token_server.outage(200)
    managers = TokenManagers(lambda account: manager_for(token_server, account))
    for account in ACCOUNTS:
        caplog.clear()
        text = error_of(managers[account].manager)
        logged = [each.getMessage() for each in caplog.records if each.name == "evertoken"]
        # a renewal of an earlier test may end only now, against its own server
        ours = [
            message
            for message in logged
            if "/oauth/token/" not in message.replace(token_server.token_url, "")
        ]
        assert ours
        for told in (text, *ours):
            assert account in told
            assert token_server.token_url in told


def test_a_token_that_is_renewed_is_logged_with_its_account(  # S64
    token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "evertoken")
    TokenManager(grant_of(token_server), memory=MemoryStore()).token()

    (message,) = (record.getMessage() for record in caplog.records if record.levelname == "INFO")
    assert message.startswith(f"{token_server.username} at {token_server.token_url}: token from")


def test_a_remembered_failure_names_its_start_and_end(  # S64
    token_server: TokenServer, tmp_path: Path
) -> None:
    first = error_of(manager_for(token_server, "acme-api", tmp_path))
    assert "remembered" not in first

    sibling = manager_for(token_server, "acme-api", tmp_path)
    for told in (error_of(sibling), error_of(sibling)):
        # only once each, however often the error was saved and loaded
        assert told.count("acme-api") == 1
        assert told.count("(remembered since ") == 1
        assert ", until " in told
    assert token_server.token_requests == 1


def test_a_sibling_that_adopts_a_refusal_says_so_and_counts_it(  # S64
    token_server: TokenServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = manager_for(token_server, "acme-api", tmp_path)
    error_of(first)
    saved_refusal(tmp_path, first.grant.key)
    caplog.clear()
    events: list[Event] = []
    sibling = manager_for(token_server, "acme-api", tmp_path, on_event=events.append)
    for _ in range(3):
        error_of(sibling)
    ours = [record.getMessage() for record in caplog.records if record.name == "evertoken"]

    assert len(ours) == len(events) == 1
    [refused] = events
    assert isinstance(refused, TokenRefused)
    assert refused.source == "store"
    for told in (ours[0], str(refused.error)):
        assert "(remembered since " in told
        assert ", until " in told
    assert first.status().counters == Counters(failures=1)
    assert sibling.status().counters == Counters(adopted_failures=1)
    assert sibling.status().failed_at == pytest.approx(first.status().failed_at)


def test_a_sibling_that_adopts_an_outage_says_so_and_counts_it(  # S64
    token_server: TokenServer, tmp_path: Path
) -> None:
    token_server.outage(503, retry_after=100)
    error_of(manager_for(token_server, "acme-api", tmp_path))
    events: list[Event] = []
    sibling = manager_for(token_server, "acme-api", tmp_path, on_event=events.append)
    for _ in range(3):
        error_of(sibling)
    eventually(lambda: events)

    [failed] = events
    assert isinstance(failed, RenewalFailed)
    assert failed.source == "store"
    assert "(remembered since " in str(failed.error)
    assert sibling.status().counters == Counters(adopted_failures=1)


def test_a_status_names_the_account_before_and_after_its_first_renewal(  # S64
    token_server: TokenServer,
) -> None:
    manager = manager_for(token_server, "acme-api")
    of_callable = TokenManager(grant_of(token_server, username=lambda: "ann"), memory=MemoryStore())
    assert of_callable.status().account is None
    for _ in range(2):
        status = manager.status()
        assert (status.account, status.token_url) == ("acme-api", token_server.token_url)
        error_of(manager)
        error_of(of_callable)
    assert of_callable.status().account == "ann"


def test_a_client_of_its_own_is_named_by_its_id(token_server: TokenServer) -> None:  # S64
    grant = ClientCredentialsGrant(token_server.token_url, client_id="acme-app", client_secret="s")
    manager = TokenManager(grant, memory=MemoryStore())
    assert manager.status().account == "acme-app"
    assert error_of(manager).startswith(f"acme-app at {token_server.token_url}: ")


def test_every_event_names_the_account_and_the_token_url(  # S64
    token_server: TokenServer, tmp_path: Path
) -> None:
    events: list[Event] = []
    store = FileStore(tmp_path)
    manager = TokenManager(
        grant_of(token_server), store=store, memory=MemoryStore(), on_event=events.append
    )
    obstacle = store.path(manager.grant.key)
    obstacle.mkdir()
    session = requests.Session()
    session.auth = BearerAuth(manager)
    session.get(token_server.api_url, timeout=30)
    obstacle.rmdir()
    token_server.api.answer_next(Answer(401), times=4)
    for _ in range(2):
        session.get(token_server.api_url, timeout=30)
    manager.revoke()
    token_server.outage(503)
    error_of(manager)
    refused = TokenManager(
        grant_of(token_server, password="wrong"), memory=MemoryStore(), on_event=events.append
    )
    token_server.recover()
    error_of(refused)
    # the end of a login needs one: tests/http/test_refresh_token.py
    kinds = {kind.__name__ for kind in get_args(Event)} - {"LoginEnding"}
    eventually(lambda: {type(event).__name__ for event in events} == kinds)

    for event in events:
        assert (event.account, event.token_url) == (token_server.username, token_server.token_url)


def test_a_timeout_names_account_and_token_url(token_server: TokenServer) -> None:  # S64
    token_server.hang()
    manager = manager_for(token_server, "acme-api")
    with pytest.raises(RefreshTimeout, match=re.escape(token_server.token_url)):
        manager.token(timeout=0)


def test_a_failed_revocation_names_account_and_token_url(token_server: TokenServer) -> None:  # S64
    manager = TokenManager(grant_of(token_server), memory=MemoryStore())
    manager.token()
    token_server.revocation_endpoint.answer_always(Answer(503))
    with pytest.raises(RevocationFailed) as caught:
        manager.revoke()
    assert str(caught.value).startswith(f"{token_server.username} at {token_server.token_url}: ")


def test_a_renewal_that_crashed_names_account_and_token_url(  # S64
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = manager_for(token_server, "acme-api")

    def broken(*_arguments: object) -> None:
        raise LookupError

    monkeypatch.setattr(Exchange, "exchange", broken)
    assert error_of(manager).startswith(f"acme-api at {token_server.token_url}: ")


def test_managers_of_one_process_warn_once_of_the_same_cause(  # S64
    token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    managers = [manager_for(token_server, "acme-api") for _ in range(3)]
    errors = {error_of(manager) for manager in managers}
    assert len(errors) == 1
    assert len(warned(caplog)) == 1

    # a later trouble of the same kind is a new one
    token_server.username, token_server.password = "acme-api", "p"
    managers[0].refresh()
    token_server.change_password("another")
    for manager in managers[1:]:
        with pytest.raises(TokenError):
            manager.refresh()
    assert len(warned(caplog)) == 1
    error_of(manager_for(token_server, "acme-api"))
    assert len(warned(caplog)) == 2


def test_credentials_that_cannot_be_read_name_the_token_url(token_server: TokenServer) -> None:
    # S64
    def unset() -> str:
        raise LookupError

    grant = grant_of(token_server, username=unset)
    assert token_server.token_url in error_of(TokenManager(grant, memory=MemoryStore()))


def test_a_password_that_cannot_be_read_names_the_user_too(token_server: TokenServer) -> None:
    # S64
    def unset() -> str:
        raise LookupError

    grant = grant_of(token_server, username="acme-api", password=unset)
    text = error_of(TokenManager(grant, memory=MemoryStore()))
    assert text.startswith(f"acme-api at {token_server.token_url}: could not read the password")


def test_a_control_character_in_a_user_name_is_escaped(token_server: TokenServer) -> None:
    text = error_of(manager_for(token_server, "evil\nname\x1b[2J"))
    assert "\n" not in text
    assert r"evil\nname\x1b[2J" in text
