"""Calls during interpreter exit, over several token lifetimes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from support.host_run import Trial

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("keep_fresh", [False, True], ids=["on_demand", "keep_fresh"])
@pytest.mark.parametrize("way", ["threads", "atexit"])
def test_calls_succeed_after_the_main_thread_has_ended(  # F33
    tmp_path: Path, way: str, *, keep_fresh: bool
) -> None:
    with Trial(tmp_path, keep_fresh=keep_fresh) as trial:
        status = trial.finish([sys.executable, "-m", "support.host_script", way])
        report = trial.report()
    assert (status, report.log) == (0, "")
    assert report.broken_promises() == []
