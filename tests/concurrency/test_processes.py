"""Processes that share a folder: one grant per lifetime, and only the first caller waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from evertoken.testing import Answer, TokenServer
from support.fleet_worker import Settings, run_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer(latency=0.2) as server:
        yield server


def test_fifty_cold_processes_cost_one_grant(server: TokenServer, tmp_path: Path) -> None:
    reports = run_fleet("once", 50, Settings.of(server, directory=str(tmp_path)))
    assert server.token_requests == 1
    assert len({report.get("token") for report in reports}) == 1
    assert len(reports) == 50


def test_a_fleet_costs_one_grant_a_lifetime(server: TokenServer, tmp_path: Path) -> None:
    server.expires_in = 3
    settings = Settings.of(server, directory=str(tmp_path), threads=4, seconds=9.0)
    reports = run_fleet("work", 16, settings)
    assert len(reports) == 16
    assert [report for report in reports if "error" in report] == []
    assert sum(map(int, (str(report["failed"]) for report in reports))) == 0
    assert sum(map(int, (str(report["expired"]) for report in reports))) == 0
    # renewed a window (0.75 s, with full jitter 0.94 s) before its end, a token lasts at least 2.06
    # s
    began = min(float(str(report["began"])) for report in reports)
    lifetimes = (max(float(str(report["ended"])) for report in reports) - began) / 2.06
    assert 3 <= server.token_requests <= lifetimes + 1
    assert server.token_requests == server.grants


def test_processes_without_a_shared_store_have_separate_tokens(server: TokenServer) -> None:
    reports = run_fleet("once", 3, Settings.of(server))
    assert server.token_requests == 3
    assert len({report["token"] for report in reports}) == 3


def test_a_fleet_shares_an_outage(server: TokenServer, tmp_path: Path) -> None:  # F20
    server.token_endpoint.answer_always(Answer(503, {"Retry-After": "3600"}))
    reports = run_fleet("once", 16, Settings.of(server, directory=str(tmp_path)))
    assert [report["error"] for report in reports] == ["GrantUnavailable"] * 16
    assert server.token_requests == 1
