"""Every log record and error about a renewal names the account and the token URL."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, MemoryStore, TokenError, TokenManager, TokenManagers
from support.http_clients import grant_of

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken.testing import TokenServer

ACCOUNTS = ["acme-api", "globex-api", "initech-api"]


def manager_for(server: TokenServer, account: str, folder: Path | None = None) -> TokenManager:
    store = None if folder is None else FileStore(folder)
    return TokenManager(
        grant_of(server, username=account, password="p"), store=store, memory=MemoryStore()
    )


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
        ours = [each.getMessage() for each in caplog.records if each.name == "evertoken"]
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


def test_a_remembered_failure_says_since_when_and_until_when(  # S64
    token_server: TokenServer, tmp_path: Path
) -> None:
    first = error_of(manager_for(token_server, "acme-api", tmp_path))
    assert "remembered" not in first

    sibling = manager_for(token_server, "acme-api", tmp_path)
    for told in (error_of(sibling), error_of(sibling)):
        # once each, however often the error was saved and loaded
        assert told.count("acme-api") == 1
        assert told.count("(remembered since ") == 1
        assert ", until " in told
    assert token_server.token_requests == 1


def test_credentials_that_cannot_be_read_name_the_token_url(token_server: TokenServer) -> None:
    # S64
    def unset() -> str:
        raise LookupError

    grant = grant_of(token_server, username=unset)
    assert token_server.token_url in error_of(TokenManager(grant, memory=MemoryStore()))


def test_a_control_character_in_a_user_name_is_escaped(token_server: TokenServer) -> None:
    text = error_of(manager_for(token_server, "evil\nname\x1b[2J"))
    assert "\n" not in text
    assert r"evil\nname\x1b[2J" in text
