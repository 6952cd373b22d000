"""Homes as in containers: none, a read-only one, and one that everybody can write."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from evertoken.testing import TokenServer
from support.console import COMMAND, account_of, complaint
from support.containers import PROCESS_1, RANDOM_USER, READ_ONLY_HOME, contained, containing
from support.modes import modes_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRARY = """
import logging, sys
from evertoken import FileStore, squadrun
logging.basicConfig(format="%(message)s")
try:
    manager = squadrun.manager(store=FileStore(sys.argv[1]))
except ValueError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(manager.token().value)
print(manager.refresh().value)
"""

FORKING = """
import os, sys
from evertoken import FileStore, squadrun
print(os.getpid(), flush=True)
manager = squadrun.manager(store=FileStore(sys.argv[1]))
print(manager.token().value, flush=True)
if (child := os.fork()) == 0:
    print(manager.token().value, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.fixture
def server() -> Iterator[TokenServer]:
    # slow enough that processes that start together ask together
    with TokenServer(latency=0.5) as server:
        yield server


@pytest.fixture
def homeless(server: TokenServer) -> dict[str, str]:
    """The variables of an account without a home."""
    return {**account_of(server), "HOME": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}


@pytest.fixture
def at_home(homeless: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The variables of an account whose home is the test's folder."""
    return homeless | {"HOME": str(tmp_path)}


# --- no home: HOME is not set, and the user has no passwd entry ----------------------------------


def test_a_store_in_an_unknown_home_raises_an_error_that_names_the_remedy(  # F35
    homeless: dict[str, str], tmp_path: Path
) -> None:
    command = sys.executable, "-c", LIBRARY, "~/.cache/my-app"
    done = contained(RANDOM_USER, *command, at=tmp_path, **homeless)
    assert done.stdout == ""
    assert done.stderr == (
        "HomeUnknown: no home folder is known for ~ in ~/.cache/my-app: set HOME, or give an "
        "absolute path\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_an_absolute_folder_needs_no_home(  # F35
    homeless: dict[str, str], tmp_path: Path
) -> None:
    command = sys.executable, "-c", LIBRARY, tmp_path / "tokens"
    done = contained(RANDOM_USER, *command, at=tmp_path, **homeless)
    assert (done.stderr, done.returncode) == ("", 0)
    assert len(set(done.stdout.split())) == 2


@pytest.mark.parametrize("command", ["token", "status", "revoke"])
def test_a_command_without_a_home_explains_how_to_set_a_token_folder(  # F35
    homeless: dict[str, str], tmp_path: Path, command: str
) -> None:
    said = complaint(contained(RANDOM_USER, COMMAND, command, at=tmp_path, **homeless))
    assert said == (
        "Error: the home folder is not known: set HOME, or name a folder by --token-dir or "
        "SQUADRUN_TOKEN_DIR"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("login",), ("token", "--profile", "work")], ids="-".join)
def test_a_command_that_needs_a_profile_explains_how_to_set_its_file(  # F35
    homeless: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = contained(RANDOM_USER, COMMAND, *arguments, at=tmp_path, **homeless)
    said = "Error: the home folder is not known: set HOME, or name a file by --config"
    assert complaint(done) == said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "variables",
    [
        {"SQUADRUN_TOKEN_DIR": "~/there"},
        {"SQUADRUN_CONFIG": "~/there"},
        {"SQUADRUN_PASSWORD": "", "SQUADRUN_PASSWORD_FILE": "~/there"},
    ],
    ids=lambda variables: [*variables][-1],
)
def test_a_path_that_needs_a_home_is_named(  # F35
    homeless: dict[str, str], tmp_path: Path, variables: dict[str, str]
) -> None:
    given = homeless | {"SQUADRUN_TOKEN_DIR": str(tmp_path / "tokens")} | variables
    said = complaint(contained(RANDOM_USER, COMMAND, "token", at=tmp_path, **given))
    assert said == (
        "Error: no home folder is known for ~ in ~/there: set HOME, or give an absolute path"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_command_with_a_token_folder_needs_no_home(  # F35
    homeless: dict[str, str], tmp_path: Path, server: TokenServer
) -> None:
    # a relative path must not find a file of this user's home
    planted = tmp_path / "~" / ".config" / "evertoken"
    planted.mkdir(parents=True)
    (planted / "config.toml").write_text("no TOML")
    given = homeless | {"SQUADRUN_TOKEN_DIR": str(tmp_path / "tokens")}
    for command in ("token", "token", "status"):
        done = contained(RANDOM_USER, COMMAND, command, at=tmp_path, **given)
        assert (done.stderr, done.returncode) == ("", 0)
    assert server.token_requests == 1


# --- a home that cannot be written ---------------------------------------------------------------


@pytest.mark.parametrize(("folder", "first"), [("there", "there"), (".cache/my-app", ".cache")])
def test_a_store_in_a_read_only_home_warns_once_and_names_the_cause(  # F35
    at_home: dict[str, str], tmp_path: Path, folder: str, first: str
) -> None:
    command = sys.executable, "-c", LIBRARY, f"~/{folder}"
    done = contained(READ_ONLY_HOME, *command, at=tmp_path, **at_home)
    assert len(set(done.stdout.split())) == 2, done.stderr
    [warning] = done.stderr.splitlines()
    assert warning.startswith(f"token files in {tmp_path / folder} are not used for now: ")
    assert f"Read-only file system: '{tmp_path / first}" in warning
    assert ".tmp" not in warning


def test_a_command_in_a_read_only_home_prints_a_token_and_one_warning(  # F35
    at_home: dict[str, str], tmp_path: Path
) -> None:
    done = contained(READ_ONLY_HOME, COMMAND, "token", at=tmp_path, **at_home)
    assert (done.returncode, len(done.stdout.split())) == (0, 1)
    [warning] = done.stderr.splitlines()
    assert f"Read-only file system: '{tmp_path / '.local'}'" in warning


# --- process 1 of a container, which often has umask 000 -----------------------------------------


def test_process_1_of_two_containers_share_a_folder_under_umask_000(  # F35, S44, S56
    at_home: dict[str, str], tmp_path: Path, server: TokenServer
) -> None:
    # from 3.12 on, a fork beside threads warns
    command = sys.executable, "-Wignore::DeprecationWarning", "-c", FORKING, "~/.cache/my-app"
    with (
        containing(PROCESS_1, *command, at=tmp_path, **at_home) as first,
        containing(PROCESS_1, *command, at=tmp_path, **at_home) as second,
    ):
        said = [process.communicate(timeout=60) for process in (first, second)]
    assert [errors for _, errors in said] == ["", ""]
    printed = [output.split() for output, _ in said]
    assert [lines[0] for lines in printed] == ["1", "1"]
    assert len({token for lines in printed for token in lines[1:]}) == 1
    assert [len(lines) for lines in printed] == [3, 3]
    assert server.token_requests == 1
    assert modes_below(tmp_path) == {("folder", "0700"), ("file", "0600")}


def test_a_command_as_process_1_keeps_its_token_private_under_umask_000(  # F35, S44, S56
    at_home: dict[str, str], tmp_path: Path, server: TokenServer
) -> None:
    runs = [
        contained(PROCESS_1, COMMAND, name, at=tmp_path, **at_home)
        for name in ("login", "token", "refresh", "token")
    ]
    assert [run.returncode for run in runs] == [0, 0, 0, 0], [run.stderr for run in runs]
    assert runs[1].stdout != runs[3].stdout
    # `login` and `refresh`
    assert server.token_requests == 2
    assert modes_below(tmp_path) == {("folder", "0700"), ("file", "0600")}
