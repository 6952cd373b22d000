"""The folders that commands create, and their messages about a token folder they do not use."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from evertoken.cli import config
from evertoken.demo import shared_store
from evertoken.sandbox import serve
from evertoken.testing import TokenServer
from support.console import account_of, ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX modes and owners")


@pytest.fixture(params=[0o000, 0o077, 0o277], ids="{:04o}".format)
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Set the umask of this process, which commands inherit."""
    del tmp_path  # created with the usual umask
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user with an empty home and an account at a server."""
    with TokenServer() as server:
        yield {
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": "",
            "XDG_STATE_HOME": "",
            **account_of(server),
        }


def modes_below(top: Path) -> dict[str, str]:
    """The modes of all folders in `top`, and of all files except the sandbox's database."""
    return {
        str(path.relative_to(top)): f"{stat.S_IMODE(path.stat().st_mode):04o}"
        for path in top.rglob("*")
        if path.is_dir() or ".sqlite3" not in path.name
    }


def folders_of(modes: dict[str, str]) -> set[str]:
    return {path for path, mode in modes.items() if mode == "0700"}


@pytest.mark.usefixtures("umask")
def test_commands_create_private_folders_under_any_umask(  # S44, S56
    account: dict[str, str], tmp_path: Path
) -> None:
    for command in ("login", "token", "refresh", "header"):
        assert ran(command, **account).returncode == 0
    modes = modes_below(tmp_path)
    folders = {
        *(".config", ".config/evertoken"),
        *(".local", ".local/state", ".local/state/evertoken"),
    }
    assert folders_of(modes) == folders
    assert {mode for path, mode in modes.items() if path not in folders} == {"0600"}
    assert (tmp_path / ".config/evertoken/config.toml").is_file()
    assert list((tmp_path / ".local/state/evertoken").glob("*.json"))


# like keyrings.alt
KEYRING_IN_FILES = """
import os
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return None

    def set_password(self, service, username, password):
        os.makedirs(os.path.expanduser("~/.local/share/python_keyring"), exist_ok=True)
"""


@pytest.mark.usefixtures("umask")
def test_a_keyring_in_files_creates_private_folders_at_a_login(  # S56
    account: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "in_files.py").write_text(KEYRING_IN_FILES)
    keyring = {"PYTHON_KEYRING_BACKEND": "in_files.Keyring", "PYTHONPATH": str(tmp_path)}
    assert ran("login", **{**account, **keyring}).returncode == 0
    found = folders_of(modes_below(tmp_path))
    assert {".local/share", ".local/share/python_keyring"} <= found


@pytest.mark.usefixtures("umask")
def test_a_token_folder_that_an_option_names_is_created_with_private_parents(  # S56
    account: dict[str, str], tmp_path: Path
) -> None:
    assert ran("token", "--token-dir", str(tmp_path / "a" / "b" / "c"), **account).returncode == 0
    assert folders_of(modes_below(tmp_path)) == {"a", "a/b", "a/b/c"}


@pytest.mark.usefixtures("umask")
def test_a_file_of_profiles_that_an_option_names_gets_private_parents(  # S56
    tmp_path: Path,
) -> None:
    path = tmp_path / "a" / "b" / "profiles.toml"
    config.write(path, "default", {"client_id": "one"})
    assert modes_below(tmp_path) == {"a": "0700", "a/b": "0700", "a/b/profiles.toml": "0600"}
    assert config.read(path) == {"default": {"client_id": "one"}}


def test_a_sandbox_creates_private_data_directories(  # S56
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir(mode=0o700)
    temporary.chmod(0o700)
    monkeypatch.setenv("TMPDIR", str(temporary))
    with serve(fast_hashing=True, data=tmp_path / "a" / "b"):
        assert folders_of(modes_below(tmp_path)) == {"a", "a/b", "temporary"}
    with serve(fast_hashing=True):
        assert [*modes_below(temporary).values()] == ["0700"], f"{umask:04o}"


@pytest.mark.usefixtures("umask")
def test_the_demo_shares_a_private_folder() -> None:  # S56
    with shared_store.opened(None) as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


# --- a token folder that others can change -------------------------------------------------------


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_a_token_is_printed_with_one_warning_whose_remedy_works(  # S56
    account: dict[str, str], open_folder: Path
) -> None:
    account = account | {"SQUADRUN_TOKEN_DIR": str(open_folder)}
    first = ran("token", **account)
    assert first.returncode == 0
    assert len(first.stdout.split()) == 1
    [warning] = first.stderr.splitlines()
    assert warning.startswith(f"evertoken: token files in {open_folder} are not used for now: ")
    assert list(open_folder.iterdir()) == []

    _, remedy, _ = warning.split("`")
    subprocess.run(shlex.split(remedy), check=True)  # noqa: S603  the remedy under test
    kept, again = ran("token", **account), ran("token", **account)
    assert (kept.stderr, again.stderr) == ("", "")
    assert kept.stdout == again.stdout


@pytest.mark.parametrize("command", ["header", "refresh", "status", "revoke"])
def test_each_command_about_a_token_reports_that_the_folder_is_not_used(  # S56
    account: dict[str, str], open_folder: Path, command: str
) -> None:
    done = ran(command, "--token-dir", str(open_folder), **account)
    assert done.stderr.count("are not used for now") == 1
    assert f"chmod go-w {open_folder}" in done.stderr


def test_status_does_not_report_a_token_from_an_untrusted_folder(  # S56
    account: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    assert ran("token", "--token-dir", str(folder), **account).returncode == 0
    folder.chmod(0o777)
    done = ran("status", "--json", "--token-dir", str(folder), **account)
    assert done.returncode == 3
    assert json.loads(done.stdout)["usable"] is False
