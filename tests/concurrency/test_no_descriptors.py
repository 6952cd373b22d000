"""A process without a free file descriptor gets a typed error, or goes on with what it has."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")

SCRIPT = """
import os, resource, sys
from evertoken import FileStore, GrantUnavailable, MemoryStore, PasswordGrant, TokenManager

grant = PasswordGrant(
    "http://127.0.0.1:9/oauth/token/", client_id="app", username="agent-7", password="secret"
)
store = FileStore(sys.argv[1])
manager = TokenManager(grant, store=store, memory=MemoryStore())
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
try:
    outcome = {"a call": manager.token, "a store": lambda: store.load(grant.key)}[sys.argv[2]]()
except GrantUnavailable as error:
    outcome = error
for each in taken:
    os.close(each)
print(outcome)
"""


def outcome(what: str, folder: Path) -> str:
    """What `what` leads to in a fresh process, none of whose lazy modules is loaded."""
    done = subprocess.run(  # noqa: S603  a script of this file
        [sys.executable, "-c", SCRIPT, str(folder), what],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_a_call_raises_a_token_error_that_says_so(tmp_path: Path) -> None:  # F8
    assert outcome("a call", tmp_path) == (
        "agent-7 at http://127.0.0.1:9/oauth/token/: no token: Too many open files"
    )


def test_a_store_holds_nothing_and_raises_nothing(tmp_path: Path) -> None:  # F8
    assert outcome("a store", tmp_path) == "None"
