"""Tests for Windows on another system, in an interpreter that lacks what Windows lacks.

`support.windows` describes it. The library's processes run in it; the token server does not.
"""

from __future__ import annotations

import ast
import json
import os
import pkgutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import evertoken
from evertoken.stores import private_files
from support import windows
from support.console import COMMAND, LONGEST
from support.fleet_worker import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.testing import TokenServer

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="open files are looked up in /proc"
)

SOURCE = Path(evertoken.__file__).parent

POSIX_ONLY = {
    *("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"),
    *windows.ABSENT,
    *("killpg", "lchown", "mknod", "nice", "pipe2", "setegid", "seteuid", "setgid", "setgroups"),
    *("setpgid", "setsid", "setuid", "statvfs", "sysconf", "uname", "wait", "wait3", "wait4"),
    *("WIFEXITED", "WEXITSTATUS", "WIFSIGNALED", "WTERMSIG", "WNOHANG", "getloadavg"),
    *("sched_getaffinity", "sched_setaffinity", "clock_gettime", "CLOCK_BOOTTIME", "tzset"),
    *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1", "SIGUSR2"),
    *("alarm", "setitimer", "pthread_kill", "pthread_sigmask", "SIG_BLOCK", "SIG_SETMASK"),
    *("AF_UNIX", "socketpair"),
}

HOMES_OF_POSIX = {
    "runtime",
    "stores/private_files.py",
    "stores/private_folders.py",
    # it shields its child processes from Ctrl-C if the system can
    "demo/fleet.py",
}

MODULES = [
    module.name
    for module in pkgutil.walk_packages([str(SOURCE)], "evertoken.")
    # those of the sandbox are imported by Django, importing a `__main__` runs it, and niquests is
    # not installed, since it brings another urllib3
    if not module.name.startswith(("evertoken.sandbox.", "evertoken.clients.niquests"))
    and "__main__" not in module.name
]

SENDS = """
import requests
from evertoken import BearerAuth
api = sys.argv[2]
answer = requests.get(api, auth=BearerAuth(manager, origins=[api]), timeout=30)
print(answer.status_code)
"""

STAYS_FRESH = """
import time
from evertoken import TokenManager
daemon = TokenManager(manager.grant, store=manager.store, keep_fresh=True)
daemon.token()
while daemon.status().counters.grants < 2:
    time.sleep(0.05)
print("renewed")
"""

RENEWS_WHILE_ITS_FILE_IS_OPEN = """
import pathlib
from evertoken import FileStore
folder = pathlib.Path(settings.directory)

def shared():
    return FileStore(folder).load(manager.grant.key).token

old = manager.token()
[path] = folder.glob("*.json")
with open(path):
    new = manager.refresh()
    assert new != old
    assert manager.token() == new
    assert shared().value == old.value
    assert not [*folder.glob("*.tmp")]
assert shared().value == old.value
newest = manager.refresh()
assert shared().value == newest.value
print("saved")
"""


class Machine:
    """Runs programs in interpreters like those on Windows, with a manager and a folder."""

    def __init__(self, server: TokenServer, folder: Path) -> None:
        self.server = server
        self.tokens = folder / "tokens"
        (folder / "site").mkdir()
        self.environment = windows.environment(folder / "site")

    def start(self, program: str) -> subprocess.Popen[str]:
        begin = "import json, sys\nfrom support.fleet_worker import Settings\n"
        settings = Settings.of(self.server, directory=str(self.tokens))
        make = "settings = Settings(**json.loads(sys.argv[1]))\nmanager = settings.manager(0)\n"
        given = [json.dumps(asdict(settings)), self.server.api_url]
        return subprocess.Popen(  # noqa: S603  this interpreter
            [sys.executable, "-c", begin + make + program, *given],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, program: str) -> tuple[str, str]:
        """The output and the errors of `program`."""
        with self.start(program) as process:
            try:
                output, said = process.communicate(timeout=LONGEST)
            finally:
                process.kill()
        assert process.returncode == 0, said
        assert "Traceback" not in said, said
        return output.strip(), said


@pytest.fixture
def machine(token_server: TokenServer, tmp_path: Path) -> Machine:
    return Machine(token_server, tmp_path)


def test_each_module_imports(machine: Machine) -> None:
    output, _ = machine.run(
        "import importlib, os\n"
        f"for name in {MODULES}:\n    importlib.import_module(name)\n"
        "print(hasattr(os, 'fork'), hasattr(os, 'geteuid'))"
    )

    assert output == "False False"


def test_a_token_is_obtained_shared_and_replaced(machine: Machine) -> None:
    assert [machine.run(SENDS)[0] for _ in range(2)] == ["200", "200"]
    assert machine.server.grants == 1

    machine.server.revoke_all()

    assert machine.run(SENDS)[0] == "200"
    assert machine.server.grants == 2


def test_processes_that_start_together_make_one_grant(machine: Machine) -> None:
    processes = [machine.start(SENDS) for _ in range(4)]

    assert [it.communicate(timeout=LONGEST)[0].strip() for it in processes] == ["200"] * 4
    assert machine.server.grants == 1


def test_a_token_is_kept_fresh(machine: Machine) -> None:
    machine.server.expires_in = 4

    assert machine.run(STAYS_FRESH)[0] == "renewed"


def test_a_token_file_that_another_process_reads_is_replaced_later(machine: Machine) -> None:
    output, said = machine.run(RENEWS_WHILE_ITS_FILE_IS_OPEN)

    assert output == "saved"
    assert said.count("are not used for now") == 1


def test_the_command_line_prints_a_token_and_revokes_it(machine: Machine, tmp_path: Path) -> None:
    server = machine.server
    secret, profile = tmp_path / "secret", tmp_path / "config.toml"
    secret.write_text(server.client_secret)
    profile.write_text(
        f'[default]\nbase_url = "{server.base_url}"\nclient_id = "{server.client_id}"\n'
        f'username = "{server.username}"\nclient_secret_file = "secret"\n'
    )
    for each in (secret, profile):
        # the mode that Windows gives every writable file
        each.chmod(0o666)
    variables = {
        "SQUADRUN_CONFIG": str(profile),
        "SQUADRUN_PASSWORD": server.password,
        "SQUADRUN_TOKEN_DIR": str(machine.tokens),
    }

    def command(name: str) -> str:
        done = subprocess.run(  # noqa: S603  the command under test
            [COMMAND, name],
            env={**machine.environment, **variables},
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert command("token") == command("token")
    assert "fresh" in command("status")
    assert server.grants == 1
    command("revoke")
    assert server.requests[-1].path == "/oauth/revoke_token/"


class Busy:
    """An `os.replace` that fails `times` times because the file is open."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.real = os.replace

    def __call__(self, source: str, target: str) -> None:
        self.left -= 1
        if self.left >= 0:
            raise PermissionError(13, "another process has it open", target)
        self.real(source, target)


def test_a_file_is_replaced_once_its_reader_has_closed_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.json"
    monkeypatch.setattr(os, "replace", Busy(private_files.BUSY_TRIES - 1))

    private_files.replace(str(path), b"new")

    assert path.read_bytes() == b"new"


def test_a_file_that_stays_open_is_not_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", Busy(1 << 30))

    with pytest.raises(PermissionError):
        private_files.replace(str(path), b"new")

    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


def test_only_a_few_modules_depend_on_posix() -> None:
    named = {
        f"{path.relative_to(SOURCE).as_posix()}: {name}"
        for path in SOURCE.rglob("*.py")
        if not {*map(str, path.relative_to(SOURCE).parents), str(path.relative_to(SOURCE))}
        & HOMES_OF_POSIX
        for name in names_in(ast.parse(path.read_text(encoding="utf-8")))
        if name in POSIX_ONLY
    }

    assert named == set()


def names_in(tree: ast.AST) -> Iterator[str]:
    """The names that are imported, or used as an attribute or in a text such as for `getattr`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.name for alias in names)
            case ast.Attribute(value=ast.Name(id="os" | "signal" | "socket" | "time"), attr=name):
                yield name
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(), *_]):
                yield str(node.args[1].value)  # type: ignore[attr-defined]  # a constant, as matched
