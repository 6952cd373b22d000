"""Runs a contract on a subject that breaks it, in a separate pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.console import environment

TESTS = Path(__file__).parent.parent


def outcomes_of(script: str) -> dict[str, str]:
    """The outcome of each test in `tests/support/<script>`, by test name."""
    done = subprocess.run(  # noqa: S603  this interpreter
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=no", "-rA", "--noconftest"),
            *("-p", "no:randomly", "-p", "no:cacheprovider", TESTS / "support" / script),
        ],
        env=environment(PYTHONPATH=str(TESTS)),
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    lines = re.findall(r"^(PASSED|FAILED|ERROR) .*::(\w+)", done.stdout, re.MULTILINE)
    assert lines, "pytest found no test"
    return {name: outcome for outcome, name in lines}
