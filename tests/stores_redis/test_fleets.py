"""Machines that share only Redis: process groups, and network namespaces if allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from evertoken.testing import TokenServer
from support.fleet import eventually
from support.hosts import Hosts, relay
from support.machine import MachineSettings, machines
from support.valkey import Valkey

if TYPE_CHECKING:
    from support.fleet_worker import Report

pytestmark = pytest.mark.slow


HERE: list[str] = []
"""A machine on this host."""

PATIENT = 10.0
"""Seconds to wait for Redis while many processes start at once.

On a busy machine some of them get its answers only after a second, and send their own requests.
"""


def total(reports: list[Report], name: str) -> int:
    return sum(int(str(report[name])) for report in reports)


def tokens_of(reports: list[Report]) -> set[str]:
    return {token for report in reports for token in cast("list[str]", report["tokens"])}


def settings(server: TokenServer, valkey: Valkey, **options: object) -> MachineSettings:
    made = MachineSettings.of(server, redis_url=valkey.url, **options)
    assert isinstance(made, MachineSettings)
    return made


def test_sixty_four_cold_processes_on_two_machines_cost_one_grant(valkey: Valkey) -> None:
    with TokenServer(latency=0.2) as server:
        told = settings(server, valkey, redis_timeout=PATIENT)
        with machines("once", 32, told, HERE, HERE) as both:
            reports = [report for machine in both for report in machine.reports()]
        assert server.token_requests == 1
    assert len({report.get("token") for report in reports}) == 1
    assert len(reports) == 64


def test_two_machines_cost_one_grant_a_lifetime(valkey: Valkey) -> None:
    with TokenServer(latency=0.2, expires_in=4) as server:
        told = settings(server, valkey, threads=2, seconds=7.0)
        with machines("work", 8, told, HERE, HERE) as both:
            reports = [report for machine in both for report in machine.reports()]
        # renewed a window (1 s, with full jitter 1.25 s) before its end, a token lasts 2.75 s
        assert 2 <= server.token_requests <= 7.0 / 2.75 + 2
    assert len(reports) == 16
    assert [report for report in reports if "error" in report] == []
    assert (total(reports, "failed"), total(reports, "expired")) == (0, 0)


def test_a_wrong_password_is_tried_once_by_all_machines(valkey: Valkey) -> None:  # S48
    with TokenServer() as server:
        told = settings(server, valkey, passwords=["wrong"], redis_timeout=PATIENT)
        with machines("once", 16, told, HERE, HERE) as both:
            reports = [report for machine in both for report in machine.reports()]
        assert server.token_requests == 1
    assert [report["error"] for report in reports] == ["GrantRefused"] * 32


def test_a_disconnected_machine_goes_on_alone() -> None:  # F27
    with (
        Hosts("reached", "cut") as hosts,
        Valkey(host=hosts.redis_address) as valkey,
        TokenServer(expires_in=4) as server,
        relay(hosts.token_address, server.token_url) as token_url,
    ):
        told = replace(settings(server, valkey, seconds=6.0, threads=2), token_url=token_url)
        places = hosts.inside("reached"), hosts.inside("cut")
        with machines("work", 4, told, *places) as (reached, cut):
            # each process has the token, which was granted to one of them
            eventually(lambda: valkey.connections() > 8 and valkey.commands().get("del"))
            assert server.token_requests == 1
            hosts.cut_off_from_redis("cut")
            sharing, alone = reached.reports(), cut.reports()
        requests = server.token_requests
    for reports in (sharing, alone):
        assert [report for report in reports if "error" in report] == []
        assert len(reports) == 4
        assert (total(reports, "failed"), total(reports, "expired")) == (0, 0)
    shared, own = tokens_of(sharing), tokens_of(alone)
    assert len(shared) <= 6.0 / 2.75 + 2, "those that are reached go on sharing"
    assert len(own - shared) >= 4, "each that is cut off has tokens of its own"
    # a token granted at the very end is not in any report
    assert requests >= len(shared | own)
