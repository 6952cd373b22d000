"""The command `evertoken` as a whole process, beside `python -c "import requests"`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from typing import TYPE_CHECKING

from benchmarks.cold_start import HOURS, milliseconds, ratio
from benchmarks.harness import ENVIRONMENT, alone
from benchmarks.report import Result, Table
from evertoken import FileStore, Token
from evertoken.cli.settings import merged
from evertoken.core.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.harness import Run

FLOOR = 'python -c "import requests"'
TOKEN = "evertoken token"  # noqa: S105  a command
COMMAND = os.path.join(sysconfig.get_path("scripts"), "evertoken")
COMMANDS = {
    FLOOR: [sys.executable, "-c", "import requests"],
    TOKEN: [COMMAND, "token"],
    "evertoken status": [COMMAND, "status"],
    "evertoken --help": [COMMAND, "--help"],
}

ACCOUNT = {
    # nobody listens there: a command that asks for a token fails
    "SQUADRUN_BASE_URL": "http://127.0.0.1:9",
    "SQUADRUN_CLIENT_ID": "client",
    "SQUADRUN_USERNAME": "user",
}

TOLD = (
    "Milliseconds of whole processes, from their start to their end, the token in a file from "
    "before and no server to ask. Medians of shuffled rounds, with the middle half in brackets; a "
    "ratio is the median of what each round says."
)


def measure(run: Run) -> Result:
    """Rounds of fresh processes in shuffled order."""
    environment = _account(run.directory)
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for name in COMMANDS:
        _seconds(name, environment)  # compiles the modules
    for _ in range(run.pick(1, 11, 41)):
        for name in run.shuffled(list(COMMANDS)):
            taken[name].append(_seconds(name, environment))
    rows = [[n, milliseconds(found), ratio(found, taken[FLOOR])] for n, found in taken.items()]
    table = Table("A whole process", ["", "ms", "ratio"], rows)
    return Result("command_line", TOLD, [table], {"seconds": taken})


def _account(directory: str) -> Mapping[str, str]:
    """The variables of an account with a fresh token in `directory`, and without a profile."""
    now = time.time()
    key = merged(options={}, environ=ACCOUNT, profile={}).key
    FileStore(directory).save(key, Entry.of_token(Token("kept-token", now, now + HOURS)))
    places = {"XDG_CONFIG_HOME": directory, "SQUADRUN_TOKEN_DIR": directory}
    return {**ENVIRONMENT, **ACCOUNT, **places}


def _seconds(name: str, environment: Mapping[str, str]) -> float:
    start = time.perf_counter()
    # the commands above
    done = subprocess.run(  # noqa: S603
        COMMANDS[name], capture_output=True, check=True, timeout=60, env=environment, text=True
    )
    taken = time.perf_counter() - start
    assert name != TOKEN or done.stdout == "kept-token\n", done.stdout
    return taken


if __name__ == "__main__":
    alone("command_line")
