"""A process that ends with an error has saved what its siblings need to know."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

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
