"""Managers of an API that accepts a new token only seconds after its grant (F38)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import BearerAuth, RefreshPolicy
from evertoken.testing import Answer, TokenServer
from support.clocks import Clocks
from support.fleet import CountingGrant, eventually, sibling
from support.http_clients import WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evertoken import Token, TokenManager
    from evertoken.testing import Exchange
    from evertoken.testing.answers import Step

HOUR = 3600.0
DELAY = 5.0
POLICY = RefreshPolicy(activation_delay=DELAY, jitter=0.0)
STALE = HOUR - 60


class SlowGrant(CountingGrant):
    """Records when the API accepts each token."""

    def __init__(self) -> None:
        super().__init__(lifetime=HOUR)
        self.active_at: dict[str, float] = {}

    def request(self) -> Token:
        token = super().request()
        # the first one was granted long ago
        delay = DELAY if self.active_at else 0.0
        self.active_at[token.value] = time.time() + delay
        return token


class SlowAPI:
    """Accepts a token once it is active, unless it was forbidden."""

    def __init__(self, grant: SlowGrant) -> None:
        self.forbidden: set[str] = set()
        self._grant = grant

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        value = str(exchange.request.headers.get("Authorization")).removeprefix("Bearer ")
        active = self._grant.active_at.get(value, 0.0) <= time.time()
        return Answer(200 if active and value not in self.forbidden else 401).steps(exchange)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
def grant(clocks: Clocks) -> SlowGrant:
    del clocks
    return SlowGrant()


@pytest.fixture
def api(token_server: TokenServer, grant: SlowGrant) -> SlowAPI:
    api = SlowAPI(grant)
    token_server.api.answer_always(api)
    return api


def manager_of(grant: SlowGrant, folder: Path | None = None) -> TokenManager:
    return sibling(grant, folder, policy=POLICY)


def renewed(manager: TokenManager, clocks: Clocks) -> Token:
    """The token that `manager` returns once it holds the next one."""
    token = manager.token()
    clocks.pass_by(STALE)
    manager.header()
    eventually(lambda: manager.status().counters.grants == 2)
    return token


def calls(manager: TokenManager, server: TokenServer) -> Iterator[requests.Response]:
    auth = BearerAuth(manager, origins=[server.base_url])
    while True:
        yield requests.get(server.api_url, auth=auth, timeout=WAIT)


def test_the_replaced_token_is_sent_until_the_new_one_is_accepted(
    token_server: TokenServer, grant: SlowGrant, api: SlowAPI, clocks: Clocks
) -> None:
    del api
    manager = manager_of(grant)
    answers = calls(manager, token_server)
    first = renewed(manager, clocks)
    assert next(answers).status_code == 200
    for _ in range(10):
        clocks.pass_by(DELAY / 5)
        answer = next(answers)
        assert (answer.status_code, answer.history) == (200, [])
    assert grant.requests == 2
    assert manager.token() != first


def test_a_token_and_its_header_agree(grant: SlowGrant, clocks: Clocks) -> None:
    manager = manager_of(grant)
    first = renewed(manager, clocks)
    assert manager.token() == first
    assert manager.header() == f"Bearer {first.value}"
    clocks.pass_by(DELAY)
    assert manager.header() == f"Bearer {manager.token().value}" != f"Bearer {first.value}"


def test_a_sibling_that_adopts_a_new_token_waits_too(
    grant: SlowGrant, clocks: Clocks, tmp_path: Path
) -> None:
    here, there = (manager_of(grant, tmp_path) for _ in range(2))
    first = here.token()
    assert there.token() == first
    renewed(here, clocks)
    assert there.token() == first
    clocks.pass_by(DELAY)
    assert there.token() == here.token() != first
    assert grant.requests == 2


def test_a_replaced_token_that_the_api_rejects_is_dropped_without_a_grant(
    token_server: TokenServer, grant: SlowGrant, api: SlowAPI, clocks: Clocks
) -> None:  # S38
    manager = manager_of(grant)
    first = renewed(manager, clocks)
    api.forbidden.add(first.value)
    grant.active_at.clear()

    answer = next(calls(manager, token_server))

    assert [it.status_code for it in (*answer.history, answer)] == [401, 200]
    assert grant.requests == 2
    assert manager.token() != first


def test_an_invalidated_token_is_not_sent_for_the_delay(grant: SlowGrant, clocks: Clocks) -> None:
    manager = manager_of(grant)
    first = renewed(manager, clocks)
    manager.invalidate(first)
    assert manager.token() != first
    assert grant.requests == 2


def test_a_forced_renewal_returns_the_new_token(grant: SlowGrant, clocks: Clocks) -> None:
    del clocks
    manager = manager_of(grant)
    first = manager.token()
    assert manager.refresh() != first
    assert manager.token() == first
