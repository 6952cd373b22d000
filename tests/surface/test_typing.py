"""A type checker accepts correct uses of the library, and finds wrong ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RIGHT = Path(__file__).with_name("typed_use.py")

# a type checker must report each line marked as wrong, and no other
WRONG = """
from evertoken import BearerAuth, PasswordGrant, RefreshPolicy, TokenManager, squadrun
from evertoken import TokenManger  # wrong

grant = PasswordGrant("https://a.example/", client_id="c", username="u", password="p")
PasswordGrant("https://a.example/", "c", username="u", password="p")  # wrong
PasswordGrant("https://a.example/", username="u", password="p")
PasswordGrant("https://a.example/", client_id=7, username="u", password="p")  # wrong
PasswordGrant("https://a.example/", username="u", password="p", client_auth="header")  # wrong
PasswordGrant("https://a.example/", username="u", password="p", extra={"audience": 7})  # wrong
PasswordGrant("https://a.example/", client_id="c", username="u", password=b"p")  # wrong

manager = TokenManager(grant)
TokenManager(grant, None)  # wrong
TokenManager(grant, store="tokens")  # wrong
TokenManager(manager)  # wrong
manager.token(5)  # wrong
manager.invalidate("token")  # wrong
manager.token().value = "other"  # wrong

BearerAuth(manager, retry_statuses=(401, 403))
BearerAuth(manager, retry_statuses=401)  # wrong
BearerAuth(grant)  # wrong

squadrun.auth(policy=RefreshPolicy(recheck=5))
squadrun.auth(policy=5)  # wrong
squadrun.auth(time_out=5)  # wrong
squadrun.auth(deadline=5.0, extra={"audience": "a"}, verify="ca.pem")
squadrun.auth(deadline="5")  # wrong
squadrun.manager("c")  # wrong
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """The lines that mypy reports in the right and in the wrong use."""
    pytest.importorskip("mypy", reason="needs mypy: pip install -e '.[lint]'")
    folder = tmp_path_factory.mktemp("typing")
    wrong = folder / "wrong.py"
    wrong.write_text(WRONG)
    # like a user: with the installed package, and without this project's settings
    options = ["--strict", "--config-file=", f"--cache-dir={folder / 'cache'}"]
    done = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-m", "mypy", *options, RIGHT, wrong],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stderr == ""
    lines: dict[str, set[int]] = {}
    for path, line in re.findall(r"^(.+?):(\d+): error: ", done.stdout, re.MULTILINE):
        lines.setdefault(Path(path).name, set()).add(int(line))
    return lines


def test_a_typed_use_of_all_public_names_is_accepted(found: dict[str, set[int]]) -> None:
    assert found.keys() <= {"wrong.py"}


def test_every_misuse_is_found(found: dict[str, set[int]]) -> None:
    marked = {
        number
        for number, line in enumerate(WRONG.splitlines(), start=1)
        if line.endswith("# wrong")
    }

    assert found["wrong.py"] == marked
