"""A manager made before gunicorn forks its workers works, and keeps fresh, in each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from support.fleet import eventually
from support.host_gunicorn import gunicorn
from support.host_report import LIFETIME
from support.host_run import Trial, loaded
from support.valkey import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

WORKERS = 2


EARLY = ["gevent", "--config", "python:support.host_gevent"]


@pytest.fixture(
    params=[["sync"], ["gthread"], ["gevent"], EARLY],
    ids=["sync", "gthread", "gevent_patched_after_import", "gevent_patched_before_import"],
)
def worker_class(request: pytest.FixtureRequest) -> list[str]:
    """The kind of worker, and what its command line needs besides."""
    if "gevent" in request.param:
        pytest.importorskip("gevent", reason="gevent is not installed: see the extra `hosts`")
    return list(request.param)


def test_workers_forked_during_a_token_request_have_tokens(  # F2, F3
    tmp_path: Path, worker_class: list[str]
) -> None:
    port = free_port()
    with Trial(tmp_path, warm_up=True) as trial:
        trial.hang_first_grant(gate=False)
        with trial.serving(gunicorn(port, *worker_class, workers=WORKERS), port):
            load = loaded(port)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, askers=WORKERS, spare=1) == [], report.log


def test_a_manager_that_keeps_fresh_serves_workers_forked_after_it(  # F3
    tmp_path: Path, worker_class: list[str]
) -> None:
    port = free_port()
    with Trial(tmp_path, shared=True, keep_fresh=True) as trial:
        with trial.serving(gunicorn(port, *worker_class, workers=WORKERS), port):
            load = loaded(port)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, spare=1) == [], report.log


def test_each_worker_keeps_fresh_while_nobody_calls(tmp_path: Path, worker_class: list[str]) -> None:
    # F3
    port = free_port()
    first: dict[int, float] = {}
    seen: dict[int, float] = {}

    def all_have_moved_on() -> bool:
        answer = requests.get(f"http://127.0.0.1:{port}/idle", timeout=10).json()
        assert answer["pid"] != answer["made_in"]
        first.setdefault(answer["pid"], answer["issued_at"])
        seen[answer["pid"]] = answer["issued_at"]
        moved = [seen[pid] > first[pid] + 2 * LIFETIME for pid in seen]
        return all(moved) and len(moved) == WORKERS

    with Trial(tmp_path, keep_fresh=True) as trial:
        with trial.serving(gunicorn(port, *worker_class, workers=WORKERS), port):
            # each has a token; two lifetimes on it has another, and nobody has asked for one
            eventually(lambda: loaded(port, seconds=0.5) and len(trial.report().pids(last=LIFETIME)) == WORKERS)
            eventually(all_have_moved_on)
        assert trial.report().broken_promises(askers=WORKERS + 1) == []
