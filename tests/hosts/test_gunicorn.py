"""A manager made before gunicorn forks works, and keeps its token fresh, in each worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from support.fleet import eventually
from support.host_gunicorn import gunicorn
from support.host_report import LIFETIME
from support.host_run import Trial
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
    """The kind of worker, and its extra options on the command line."""
    if "gevent" in request.param:
        pytest.importorskip("gevent", reason="gevent is not installed: see the extra `hosts`")
    return list(request.param)


def test_workers_forked_during_a_token_request_have_tokens(  # F2, F3
    tmp_path: Path, worker_class: list[str]
) -> None:
    port = free_port()
    with Trial(tmp_path, warm_up=True) as trial:
        trial.slow_first_grant()
        with trial.serving(gunicorn(port, *worker_class, workers=WORKERS), port):
            load = trial.load(port)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, askers=WORKERS, spare=1) == [], report.log


@pytest.mark.parametrize("keep_fresh", [False, True], ids=["on_demand", "keep_fresh"])
def test_workers_share_the_token_of_a_manager_made_before_the_fork(  # F3
    tmp_path: Path, worker_class: list[str], *, keep_fresh: bool
) -> None:
    port = free_port()
    with Trial(tmp_path, shared=True, keep_fresh=keep_fresh) as trial:
        with trial.serving(gunicorn(port, *worker_class, workers=WORKERS), port):
            load = trial.load(port)
        report = trial.report(load)
    assert report.broken_promises(workers=WORKERS, spare=1) == [], report.log


def test_each_worker_keeps_its_token_fresh_without_calls(
    tmp_path: Path, worker_class: list[str]
) -> None:  # F3
    port = free_port()
    first: dict[int, float] = {}
    seen: dict[int, float] = {}

    def each_has_a_token() -> bool:
        trial.load(port, seconds=0.5)
        return len(trial.report().pids(last=LIFETIME)) == WORKERS

    def all_have_moved_on() -> bool:
        answer = requests.get(f"http://127.0.0.1:{port}/idle", timeout=10).json()
        assert answer["pid"] != answer["made_in"]
        if answer["issued_at"] is not None:
            first.setdefault(answer["pid"], answer["issued_at"])
            seen[answer["pid"]] = answer["issued_at"]
        moved = [seen[pid] > first[pid] + 2 * LIFETIME for pid in seen]
        return all(moved) and len(moved) == WORKERS

    with Trial(tmp_path, keep_fresh=True) as trial:
        with trial.serving(gunicorn(port, *worker_class, workers=WORKERS), port):
            # each worker has a token, and another one two lifetimes later, without any request
            eventually(each_has_a_token)
            eventually(all_have_moved_on)
        assert trial.report().broken_promises(askers=WORKERS + 1) == []
