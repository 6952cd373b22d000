"""A server that keeps one session per user: a new token ends the previous one (F39)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import BearerAuth, FileStore
from evertoken.events import RejectedAgain
from evertoken.runtime import reports
from evertoken.testing import TokenServer, Usual
from support.clocks import Clocks
from support.http_clients import WAIT, manager_of
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evertoken import TokenManager
    from evertoken.events import Event
    from evertoken.testing import Exchange
    from evertoken.testing.answers import Step

SAID = "the API rejected two tokens within 60 s"


@dataclass(frozen=True)
class OneSession:
    """Grants a token, and ends those granted before."""

    server: TokenServer

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        self.server.expire_all()
        return Usual().steps(exchange)


@pytest.fixture
def server(token_server: TokenServer) -> TokenServer:
    token_server.token_endpoint.answer_always(OneSession(token_server))
    return token_server


def call(manager: TokenManager, server: TokenServer) -> int:
    return requests.get(server.api_url, auth=BearerAuth(manager), timeout=WAIT).status_code


def told(events: list[Event]) -> list[RejectedAgain]:
    reports.catch_up(5.0)
    return [event for event in events if isinstance(event, RejectedAgain)]


def test_processes_that_end_each_others_sessions_are_warned_once(
    server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    here, there = manager_of(server, on_event=events.append), manager_of(server)
    assert [call(each, server) for each in (here, there, here, there)] == [200] * 4
    assert warned(caplog) == []

    assert [call(here, server) for _ in range(3)] == [401] * 3

    (record,) = warned(caplog)
    said = record.getMessage()
    assert said.startswith(f"{server.username} at {server.token_url}: {SAID}")
    assert "one session per user: share a store (FileStore, RedisStore)" in said
    assert [event.reason for event in told(events)] == [said]


def test_a_second_rejection_is_an_event_once_a_minute_and_logged_once(
    server: TokenServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    events: list[Event] = []
    here, there = manager_of(server, on_event=events.append), manager_of(server)
    for _ in range(3):
        for each in (here, there, here, there, here, here):
            call(each, server)
        clocks.pass_by(61)

    assert len(told(events)) == 3
    assert len([it for it in warned(caplog) if SAID in it.getMessage()]) == 1


def test_processes_that_share_a_store_are_not_warned(
    server: TokenServer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pair = [manager_of(server, store=FileStore(tmp_path)) for _ in range(2)]

    statuses = [call(each, server) for each in pair * 3]
    server.expire_all()
    statuses += [call(each, server) for each in pair]

    assert statuses == [200] * 8
    assert warned(caplog) == []


def test_a_token_that_could_not_be_replaced_does_not_count_as_a_second_one(
    server: TokenServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks, manager = Clocks(monkeypatch), manager_of(server)
    call(manager, server)
    clocks.pass_by(600)
    server.expire_all()
    server.outage(503)

    assert [call(manager, server) for _ in range(3)] == [401] * 3

    assert not any(SAID in record.getMessage() for record in warned(caplog))
