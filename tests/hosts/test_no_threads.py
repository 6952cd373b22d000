"""If no thread can start, a caller whose token is due renews in its own call."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from evertoken.testing import Drip
from support.host_run import Trial
from support.host_script import NO_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="these limits are Linux's"),
]

OTHER_UID = 61234


def command(limit: str) -> list[str]:
    """A script under a limit. The process limit does not apply to root, so the real uid changes.

    Root keeps its other privileges: Python's files may be readable only by root.
    """
    script = [sys.executable, "-m", "support.host_script", limit]
    if limit != "processes" or os.geteuid() != 0:
        return script
    if shutil.which("setpriv") is None:
        pytest.skip("a limit on processes does not bind root, and there is no setpriv")
    return ["setpriv", "--ruid", str(OTHER_UID), "--bounding-set=-sys_resource,-sys_admin", *script]


@pytest.fixture(params=["processes", "memory"])
def limited(request: pytest.FixtureRequest) -> list[str]:
    return command(request.param)


@pytest.mark.parametrize("keep_fresh", [False, True], ids=["on_demand", "keep_fresh"])
def test_callers_renew_in_their_own_thread(  # F33
    tmp_path: Path, limited: list[str], *, keep_fresh: bool
) -> None:
    with Trial(tmp_path, shared=True, keep_fresh=keep_fresh) as trial:
        status = trial.finish(limited)
        report = trial.report()
    if status == NO_LIMIT:
        pytest.skip("the limit lets threads start here")
    assert status == 0, report.log
    assert report.broken_promises() == [], report.log


def test_a_dripping_server_blocks_no_caller_beyond_the_deadline(  # F33
    tmp_path: Path, limited: list[str]
) -> None:
    with Trial(tmp_path, timeout=1.0) as trial:
        trial.server.answer_next(Drip(0.1))
        status = trial.finish(limited)
        report = trial.report()
    if status == NO_LIMIT:
        pytest.skip("the limit lets threads start here")
    assert status == 0, report.log
    # the deadline of a request is 3 s, plus one second
    assert list(report.waits(4.0)) == [], report.log
