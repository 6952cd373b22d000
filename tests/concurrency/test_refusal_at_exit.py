"""A process that ends with an error saves the refusal for its siblings first."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, GrantRefused, PasswordGrant, TokenManager
from evertoken.testing import TokenServer

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
from evertoken import FileStore, PasswordGrant, TokenError, TokenManager
url, client_id, client_secret, username, folder = sys.argv[1:]
grant = PasswordGrant(
    url, client_id=client_id, client_secret=client_secret, username=username, password="wrong"
)
try:
    TokenManager(grant, store=FileStore(folder)).token()
except TokenError as error:
    sys.exit(type(error).__name__)
"""


def test_short_processes_post_a_wrong_password_once(tmp_path: Path) -> None:  # S48
    with TokenServer() as server:
        account = server.token_url, server.client_id, server.client_secret, server.username
        command = [sys.executable, "-c", SCRIPT, *account, str(tmp_path)]
        said = [
            subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr  # noqa: S603  the script above
            for _ in range(3)
        ]
        assert server.token_requests == 1
    assert ["GrantRefused" in each for each in said] == [True] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_short_child_processes_post_a_wrong_password_once(
    tmp_path: Path,
) -> None:  # S48
    with TokenServer() as server:
        grant = PasswordGrant(
            server.token_url,
            client_id=server.client_id,
            client_secret=server.client_secret,
            username=server.username,
            password="wrong",
        )
        manager = TokenManager(grant, store=FileStore(tmp_path))
        fork = multiprocessing.get_context("fork")
        for _ in range(3):
            child = fork.Process(target=_refused, args=(manager,))
            child.start()
            child.join(60)
            assert child.exitcode == 0
        assert server.token_requests == 1


def _refused(manager: TokenManager) -> None:
    with pytest.raises(GrantRefused):
        manager.token()
