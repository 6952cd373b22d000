"""A manager made before gunicorn forks its workers works, and keeps fresh, in each of them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken.testing import TokenServer
from support.fleet import eventually
from support.fleet_worker import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKERS = 3


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer(expires_in=2) as server:
        yield server


@pytest.fixture(params=["sync", "gthread"])
def url(request: pytest.FixtureRequest, server: TokenServer, tmp_path: Path) -> Iterator[str]:
    """Where gunicorn listens."""
    log = tmp_path / "log"
    variables = environment(
        SQUADRUN_BASE_URL=server.base_url,
        SQUADRUN_CLIENT_ID=server.client_id,
        SQUADRUN_CLIENT_SECRET=server.client_secret,
        SQUADRUN_USERNAME=server.username,
        SQUADRUN_PASSWORD=server.password,
        SQUADRUN_TOKEN_DIR=str(tmp_path / "tokens"),
    )
    command = [sys.executable, "-m", "gunicorn", "--preload", "--bind", "127.0.0.1:0"]
    command += ["--workers", str(WORKERS), "--threads", "2", "--worker-class", request.param]
    command += ["--no-control-socket", "support.fleet_wsgi:app"]
    with log.open("wb") as output:
        gunicorn = subprocess.Popen(command, stdout=output, stderr=output, env=variables)  # noqa: S603  literal
    try:
        eventually(lambda: _listening(log) or gunicorn.poll() is not None)
        assert gunicorn.poll() is None, log.read_text()
        yield _listening(log)
    finally:
        gunicorn.terminate()
        assert gunicorn.wait(20) == 0, log.read_text()


def _listening(log: Path) -> str:
    found = re.search(r"Listening at: (http://\S+)", log.read_text())
    return found[1] if found else ""


def _reports(url: str) -> dict[int, dict[str, float]]:
    """The last report of each worker that answered."""
    answers = [requests.get(url, timeout=10) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {200}
    return {answer.json()["pid"]: answer.json() for answer in answers}


def test_a_preloaded_manager_works_and_keeps_fresh_in_every_worker(  # F3
    url: str, server: TokenServer
) -> None:
    seen: dict[int, dict[str, float]] = {}
    eventually(lambda: (seen.update(_reports(url)), len(seen) == WORKERS)[1])
    assert all(pid != report["made_in"] for pid, report in seen.items())
    before = server.token_requests
    first = {pid: report["issued_at"] for pid, report in seen.items()}

    def all_have_moved_on() -> bool:
        seen.update(_reports(f"{url}/idle"))
        return all(seen[pid]["issued_at"] > first[pid] + 2 for pid in first)

    # two lifetimes on, and nobody has asked for a token: the refreshers did
    eventually(all_have_moved_on)
    assert server.token_requests > before
    span = max(report["issued_at"] for report in seen.values()) - min(first.values())
    # a token of 2 s is renewed after 1.375 s at the earliest
    assert server.token_requests - before <= span / 1.375 + 2
