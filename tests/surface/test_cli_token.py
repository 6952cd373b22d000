"""The commands about a token: what they print, where it comes from, how they end."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import keyring
import pytest
from cryptography.fernet import Fernet

from evertoken import FileStore, MemoryStore, Token, TokenKey, squadrun
from evertoken.cli import request_options, secrets
from evertoken.cli.settings import Kind, Settings, Source, checked, merged
from evertoken.cli.wording import duration, next_try
from evertoken.core.entry import Entry
from evertoken.testing import Answer, TokenServer
from support.console import (
    COMMAND,
    LONGEST,
    account_of,
    complaint,
    environment,
    ran,
    running,
    stream_of,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# a keyring of the keyring library's own kind, in a file
KEYRING = """
import json, pathlib
from keyring.backend import KeyringBackend
PLACE = pathlib.Path(__file__).with_name("keyring.json")

class Keyring(KeyringBackend):
    priority = 1

    def _all(self):
        return json.loads(PLACE.read_text()) if PLACE.exists() else {}

    def get_password(self, service, username):
        return self._all().get(f"{service}/{username}")

    def set_password(self, service, username, password):
        PLACE.write_text(json.dumps({**self._all(), f"{service}/{username}": password}))

class PlaintextKeyring(Keyring):  # as that of keyrings.alt is called
    file_path = str(PLACE)
"""

ALL = ["SQUADRUN_CLIENT_ID", "SQUADRUN_USERNAME", "SQUADRUN_CLIENT_SECRET", "SQUADRUN_PASSWORD"]

PLAIN = {"PYTHON_KEYRING_BACKEND": "filed.PlaintextKeyring"}


@dataclass
class Shell:
    """A user's shell: a home of its own, and the account in its variables."""

    server: TokenServer
    home: Path

    @property
    def variables(self) -> dict[str, str]:
        """Empty ones count as none."""
        return {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "PYTHONPATH": os.pathsep.join([str(self.home), os.environ.get("PYTHONPATH", "")]),
            **account_of(self.server),
        }

    def __call__(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        done = ran(*arguments, **{**self.variables, **changes})
        # S46: only what was asked for is told, and no traceback
        for secret in (self.server.password, self.server.client_secret):
            assert secret not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr or "--debug" in arguments
        return done

    @property
    def store(self) -> FileStore:
        return FileStore(self.home / "state" / "evertoken")

    def keep(self, *, age: float, left: float) -> Token:
        """A token in the file, `age` seconds old and with `left` seconds to go."""
        now = time.time()
        token = Token("kept-token", now - age, now + left, generation=int(now - age))
        self.store.save(self.key, Entry.of_token(token))
        return token

    @property
    def key(self) -> TokenKey:
        return merged(options={}, environ=self.variables, profile={}).key

    def profile(self, text: str) -> Path:
        path = self.home / "config" / "evertoken" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    def typed(
        self, *arguments: str, answers: dict[str, str], printed: str = "", **changes: str
    ) -> tuple[int, str]:
        """Run it at a terminal; exit status, and all that the terminal showed.

        Each of `answers` is typed once its question is there. With `printed`, standard output
        goes to that file instead.
        """
        terminal, end = pty.openpty()
        output = os.open(printed, os.O_CREAT | os.O_WRONLY, 0o600) if printed else end
        process = subprocess.Popen(  # noqa: S603  the command under test
            [COMMAND, *arguments],
            env=environment(**{**self.variables, "TERM": "dumb", "COLUMNS": "200", **changes}),
            stdin=end,
            stdout=output,
            stderr=end,
            start_new_session=True,
        )
        for descriptor in {end, output}:
            os.close(descriptor)
        shown, left = "", list(answers.items())
        try:
            while chunk := _read(terminal):
                shown += chunk
                if left and shown.endswith(f"{left[0][0]}: "):
                    os.write(terminal, f"{left.pop(0)[1]}\n".encode())
            return process.wait(30), shown
        finally:
            process.kill()
            process.wait(30)
            os.close(terminal)


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 4096).decode()
    except OSError:  # how Linux says that the other end was closed
        return ""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with TokenServer() as server:
        yield Shell(server, tmp_path)


def answer(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed that had nothing to complain of."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestToken:
    def test_is_printed_alone_and_kept_for_the_next_run(self, shell: Shell) -> None:
        first = answer(shell("token"))
        again = answer(shell("token", SQUADRUN_PASSWORD="", SQUADRUN_CLIENT_SECRET=""))

        assert first.strip() in shell.server.secrets
        assert first == again
        assert shell.server.grants == 1

    def test_is_the_one_of_a_daemon_that_is_pointed_at_the_same_directory(
        self, shell: Shell
    ) -> None:
        daemon = squadrun.manager(
            base_url=shell.server.base_url,
            client_id=shell.server.client_id,
            client_secret=shell.server.client_secret,
            username=shell.server.username,
            password=shell.server.password,
            store=shell.store,
            memory=MemoryStore(),
        )
        assert daemon.grant.key == shell.key

        assert answer(shell("token")).strip() == daemon.token().value
        assert shell.server.grants == 1

    def test_is_printed_as_json(self, shell: Shell) -> None:
        kept = shell.keep(age=0, left=3600)
        printed = json.loads(answer(shell("token", "--json")))

        assert 3500 < printed.pop("expires_in") <= 3600
        assert printed == {
            "access_token": "kept-token",
            "token_type": "Bearer",
            "expires_at": kept.expires_at,
            "scope": None,
        }

    def test_in_its_last_minutes_is_renewed_first(self, shell: Shell) -> None:
        shell.keep(age=3500, left=100)

        assert answer(shell("token")).strip() in shell.server.secrets - {"kept-token"}
        assert shell.server.grants == 1

    def test_in_its_last_minutes_serves_through_an_outage(self, shell: Shell) -> None:
        shell.keep(age=3500, left=100)
        shell.server.outage(503)
        done = shell("token")

        assert (done.returncode, done.stdout) == (0, "kept-token\n")
        assert done.stderr.startswith("evertoken: the token was not renewed yet: ")

    def test_in_its_last_minutes_needs_no_password(self, shell: Shell) -> None:
        shell.keep(age=3500, left=100)

        assert answer(shell("token", SQUADRUN_PASSWORD="")) == "kept-token\n"

    def test_asks_once_with_a_wrong_password(self, shell: Shell) -> None:  # S48
        shell.keep(age=3500, left=100)
        statuses = [shell("token", SQUADRUN_PASSWORD="wrong").returncode for _ in range(3)]

        assert statuses == [0, 0, 0]
        assert shell.server.token_requests == 1


class TestHeader:
    def test_is_a_line_for_curl(self, shell: Shell) -> None:
        shell.keep(age=0, left=3600)

        assert answer(shell("header")) == "Authorization: Bearer kept-token\n"

    def test_is_printed_as_json(self, shell: Shell) -> None:
        shell.keep(age=0, left=3600)

        assert json.loads(answer(shell("header", "--json"))) == {
            "Authorization": "Bearer kept-token"
        }


class TestExec:
    @pytest.mark.parametrize("separator", [["--"], []])
    def test_runs_a_program_with_the_token_and_ends_as_it_does(
        self, shell: Shell, separator: list[str]
    ) -> None:
        shell.keep(age=0, left=3600)
        program = "import os, sys; print(os.environ['SQUADRUN_ACCESS_TOKEN'], *sys.argv); exit(7)"
        done = shell("exec", *separator, sys.executable, "-c", program, "--debug", "x y")

        assert (done.returncode, done.stdout, done.stderr) == (7, "kept-token -c --debug x y\n", "")

    @pytest.mark.parametrize("ending", ["", "_FILE", "_COMMAND"])
    def test_passes_on_the_token_and_no_way_to_a_secret(self, shell: Shell, ending: str) -> None:
        shell.keep(age=0, left=3600)
        names = [f"SQUADRUN_{name}{ending}" for name in ("PASSWORD", "CLIENT_SECRET")]
        blank = {"SQUADRUN_PASSWORD": "", "SQUADRUN_CLIENT_SECRET": ""}
        given = {**blank, **dict.fromkeys(names, "planted")}
        program = "import json, os; print(json.dumps(dict(os.environ)))"
        passed = json.loads(answer(shell("exec", sys.executable, "-c", program, **given)))

        assert [name for name, value in passed.items() if value == "planted"] == []
        assert {name for name in passed if name.startswith("SQUADRUN_")} == {
            *("SQUADRUN_ACCESS_TOKEN", "SQUADRUN_BASE_URL"),
            *("SQUADRUN_CLIENT_ID", "SQUADRUN_USERNAME"),
        }

    @pytest.mark.parametrize(("program", "status"), [("no-such-program", 127), (os.devnull, 126)])
    def test_tells_a_program_that_does_not_run_as_a_shell_does(
        self, shell: Shell, program: str, status: int
    ) -> None:
        shell.keep(age=0, left=3600)
        done = shell("exec", program)

        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith(f"Error: {program}: ")

    def test_needs_a_program(self, shell: Shell) -> None:
        assert "COMMAND" in complaint(shell("exec"))


class TestStatus:
    def test_is_none_at_first(self, shell: Shell) -> None:
        done = shell("status", "--json")

        assert done.returncode == 3
        assert json.loads(done.stdout) == {
            "profile": "default",
            "base_url": shell.server.base_url,
            "client_id": shell.server.client_id,
            "username": shell.server.username,
            "state": "none",
            "usable": False,
            "seconds_left": 0.0,
            "issued_at": None,
            "expires_at": None,
            "scope": None,
            "login_expires_at": None,
            "file": str(shell.store.path(shell.key)),
            "mode": None,
            "last_error": None,
            "failed_at": None,
            "retry_at": None,
        }

    @pytest.mark.parametrize(
        ("age", "left", "state", "status"),
        [(0, 3600, "fresh", 0), (3500, 100, "stale", 0), (3600, 0, "expired", 3)],
    )
    def test_is_that_of_the_token_in_the_file(
        self, shell: Shell, age: float, left: float, state: str, status: int
    ) -> None:
        shell.keep(age=age, left=left)
        done = shell("status", "--json")
        told = json.loads(done.stdout)

        assert (done.returncode, told["state"], told["mode"]) == (status, state, "0600")
        assert told["usable"] is (status == 0)
        assert shell.server.token_requests == 0

    def test_is_refused_after_a_refusal_and_tells_why(self, shell: Shell) -> None:
        failed = shell("token", SQUADRUN_PASSWORD="wrong")
        done = shell("status", "--json")
        told = json.loads(done.stdout)

        assert (failed.returncode, done.returncode) == (4, 4)
        assert told["state"] == "refused"
        assert failed.stderr == f"Error: {told['last_error']}\n"
        assert 200 < told["retry_at"] - time.time() <= 300
        assert told["retry_at"] - told["failed_at"] == pytest.approx(300)

    def test_is_cooling_in_an_outage(self, shell: Shell) -> None:
        shell.server.outage(503, retry_after=200)
        failed = shell("token")
        done = shell("status")

        assert (failed.returncode, done.returncode) == (1, 3)
        assert "state       no token: the last try failed\n" in done.stdout
        assert "next try    in 3 min " in done.stdout
        moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}"
        assert re.search(rf"^since +{moment}, until {moment}$", done.stdout, re.MULTILINE)
        assert "other credentials" not in done.stdout

    def test_is_a_line_for_each_thing_to_know(self, shell: Shell) -> None:
        shell.keep(age=0, left=36000)
        lines = answer(shell("status")).splitlines()

        assert [line[:12].strip() for line in lines] == [
            *("account", "client", "profile", "state", "time left", "token file", "its mode")
        ]
        assert lines[0].endswith(f" {shell.server.username} at {shell.server.token_url}")
        assert lines[4].startswith("time left   9 h 59 min, until 20")
        assert lines[5].endswith(str(shell.store.path(shell.key)))

    def test_can_be_copied_from_a_terminal_however_narrow(self, shell: Shell) -> None:
        shell.keep(age=0, left=36000)
        status, shown = shell.typed("status", answers={}, COLUMNS="40", TERM="xterm")

        assert status == 0
        assert f"token file  {shell.store.path(shell.key)}\r\n" in shown
        assert "\x1b" not in shown

    def test_tells_whether_there_is_a_file_of_profiles(self, shell: Shell) -> None:
        without_one = shell("status").stdout
        path = shell.profile("[default]\n")

        assert f"profile     default ({path} does not exist)\n" in without_one
        assert f"profile     default ({path})\n" in shell("status").stdout


class TestStatusOfAFolder:
    """`status` where no account is configured."""

    NOBODY: ClassVar = dict.fromkeys(ALL, "")

    def listed(self, shell: Shell, *options: str, **changes: str) -> list[dict[str, object]]:
        done = shell("status", "--json", *options, **{**self.NOBODY, **changes})
        accounts: list[dict[str, object]] = json.loads(done.stdout)["accounts"]
        return accounts

    def test_names_every_account_and_how_it_stands(self, shell: Shell) -> None:
        shell.keep(age=0, left=36000)
        shell("token", SQUADRUN_USERNAME="globex", SQUADRUN_PASSWORD="wrong")
        done = shell("status", "--json", **self.NOBODY)
        told = json.loads(done.stdout)

        assert done.returncode == 4
        assert told["folder"] == str(shell.home / "state" / "evertoken")
        accounts = {each["username"]: each for each in told["accounts"]}
        fresh, refused = accounts[shell.server.username], accounts["globex"]
        assert (fresh["state"], fresh["usable"]) == ("fresh", True)
        assert (refused["state"], refused["usable"]) == ("refused", False)
        assert refused["retry_at"] - refused["failed_at"] == pytest.approx(300)
        for each in (fresh, refused):
            assert each["token_url"] == shell.server.token_url
            assert each["client_id"] == shell.server.client_id

    def test_is_a_block_of_lines_for_each_account(self, shell: Shell) -> None:
        shell.keep(age=0, left=36000)
        shell("token", SQUADRUN_USERNAME="globex", SQUADRUN_PASSWORD="wrong")
        shown = shell("status", **self.NOBODY).stdout
        blocks = sorted(shown.split("\n\n"), key=lambda block: "globex" in block)

        assert blocks[0].startswith(
            f"account     {shell.server.username} at {shell.server.token_url}\n"
        )
        assert "state       fresh\ntime left   9 h 59 min, until 20" in blocks[0]
        assert blocks[1].startswith(f"account     globex at {shell.server.token_url}\n")
        assert "state       no token: the credentials were refused\n" in blocks[1]
        assert "\nsince       20" in blocks[1]
        assert ", until 20" in blocks[1]

    def test_is_of_the_folder_that_an_option_names(self, shell: Shell, tmp_path: Path) -> None:
        FileStore(tmp_path / "other").save(
            TokenKey("https://id.example/", "c"), Entry.of_token(Token("t", 0.0, 1.0))
        )
        (told,) = self.listed(shell, "--token-dir", str(tmp_path / "other"))

        assert (told["client_id"], told["username"], told["state"]) == ("c", None, "expired")

    def test_is_of_one_user_where_only_that_is_named(self, shell: Shell) -> None:
        for name in ("acme", "globex"):
            key = replace(shell.key, username=name)
            shell.store.save(key, Entry.of_token(Token("t", 0.0, 1.0)))
        (told,) = self.listed(shell, "--username", "globex")

        assert told["username"] == "globex"

    def test_says_whose_file_is_missing(self, shell: Shell) -> None:
        shell.store.save(shell.key, Entry.of_token(Token("t", 0.0, 1.0)))
        shown = shell("status", "--username", "globex", **self.NOBODY).stdout

        folder = shell.home / "state" / "evertoken"
        assert shown == f"no token file of user globex in {folder}; --all shows the others\n"

    def test_names_a_folder_that_cannot_be_read(self, shell: Shell, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        said = complaint(shell("status", "--all", "--token-dir", str(tmp_path / "file")))

        assert said == f"Error: {tmp_path / 'file'} cannot be read: Not a directory"

    def test_is_of_all_accounts_on_demand(self, shell: Shell) -> None:
        shell.keep(age=0, left=36000)
        other = replace(shell.key, username="globex")
        shell.store.save(other, Entry.of_token(Token("t", 0.0, 1.0)))
        done = shell("status", "--all", "--json")

        assert {each["username"] for each in json.loads(done.stdout)["accounts"]} == {
            shell.server.username,
            "globex",
        }
        assert done.returncode == 3

    def test_says_why_a_file_cannot_be_used(self, shell: Shell) -> None:
        key = Fernet.generate_key()
        folder = shell.home / "state" / "evertoken"
        for name, entry in (("a", key), ("b", None)):
            FileStore(folder, encryption_key=entry).save(
                TokenKey("https://id.example/", name), Entry.of_token(Token("t", 0.0, 1.0))
            )
        FileStore(folder).path(TokenKey("https://id.example/", "b")).chmod(0o644)
        flaws = {str(each["flaw"]) for each in self.listed(shell)}
        shown = shell("status", **self.NOBODY)

        assert shown.returncode == 3
        assert any(flaw.startswith("it is encrypted: only processes") for flaw in flaws)
        assert any("(mode 0644)" in flaw for flaw in flaws)
        assert "state       not used: it is encrypted: " in shown.stdout

    def test_of_a_folder_without_tokens_says_so(self, shell: Shell) -> None:
        done = shell("status", **self.NOBODY)

        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout == f"no token file in {shell.home / 'state' / 'evertoken'}\n"


class TestRefresh:
    def test_has_a_new_token_granted_and_does_not_print_it(self, shell: Shell) -> None:
        shell.keep(age=0, left=3600)

        assert answer(shell("refresh")) == "got a new token, valid for 10 h\n"
        assert answer(shell("token")) != "kept-token\n"
        assert shell.server.grants == 1

    def test_tells_times_as_json(self, shell: Shell) -> None:
        told = json.loads(answer(shell("refresh", "--json")))

        assert sorted(told) == ["expires_at", "expires_in", "scope"]
        assert 35900 < told["expires_in"] <= 36000

    def test_asks_again_after_a_refusal(self, shell: Shell) -> None:
        statuses = [shell("refresh", SQUADRUN_PASSWORD="wrong").returncode for _ in range(2)]

        assert statuses == [4, 4]
        assert shell.server.token_requests == 2


class TestRevoke:
    def test_ends_the_token_at_the_server_and_here(self, shell: Shell) -> None:
        token = answer(shell("token")).strip()
        done = shell("revoke", SQUADRUN_PASSWORD="")

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "revoked\n")
        revoked = [one.form["token"] for one in shell.server.revocation_endpoint.requests]
        assert [token] in revoked
        after = shell("status", "--json")
        assert (after.returncode, json.loads(after.stdout)["state"]) == (3, "none")

    def test_drops_the_token_though_the_server_does_not_confirm(self, shell: Shell) -> None:  # S40
        shell.keep(age=0, left=3600)
        shell.server.revocation_endpoint.answer_always(Answer(503))
        done = shell("revoke")

        assert (done.returncode, done.stdout) == (1, "")
        assert ": the server did not confirm the revocation: " in done.stderr
        assert shell("status").returncode == 3

    def test_of_a_token_that_cannot_be_read_fails(self, shell: Shell) -> None:
        shell.keep(age=0, left=3600)
        path = shell.store.path(shell.key)
        path.chmod(0o644)
        done = shell("revoke")

        assert (done.returncode, done.stdout) == (1, "")
        assert str(path) in done.stderr

    def test_without_a_token_asks_nobody(self, shell: Shell) -> None:
        done = shell("revoke", SQUADRUN_CLIENT_SECRET="", SQUADRUN_PASSWORD="")

        assert (done.returncode, done.stderr) == (0, "there is no token to revoke\n")
        told = shell("revoke", "--json", SQUADRUN_CLIENT_SECRET="", SQUADRUN_PASSWORD="")
        assert json.loads(told.stdout) == {"revoked": False}
        assert shell.server.requests == ()


class TestRequest:
    def test_is_made_as_the_profile_says(self, shell: Shell) -> None:
        shell.server.basic_auth = "raw"
        shell.server.client_secret = "a+b%c"
        shell.server.expires_in = 0
        shell.profile(
            '[default]\nclient_auth = "basic-raw"\nlifetime = 7200\n'
            '[default.extra]\naudience = "https://api"\n'
            '[default.headers]\nX-Tenant = "acme"\n'
        )

        granted = shell("refresh")
        held = shell("token")
        revoked = shell("revoke")

        assert [done.returncode for done in (granted, held, revoked)] == [0, 0, 0]
        assert granted.stdout == "got a new token, valid for 2 h\n"
        request, *revocations = shell.server.requests
        assert request.form["audience"] == ["https://api"]
        assert all(each.headers["X-Tenant"] == "acme" for each in (request, *revocations))
        assert len(revocations) == 2
        assert "client_secret" not in request.form

    def test_of_another_profile_does_not_bring_its_token(self, shell: Shell) -> None:
        shell.profile('[default]\n[other.headers]\nX-Tenant = "other"\n')

        ours, others = shell("token"), shell("token", "--profile", "other")

        assert ours.stdout != others.stdout
        assert shell.server.grants == 2

    def test_that_cannot_be_made_so_is_told_with_its_profile(self, shell: Shell) -> None:
        path = shell.profile("[default]\nlifetime = 0\n")

        done = shell("status")

        assert done.returncode == 2
        assert f"(profile default of {path})" in complaint(done)


class TestSettings:
    def test_come_from_options_then_variables_then_the_profile(self) -> None:
        names = ("base_url", "client_id", "username", "token_dir")
        profile = dict.fromkeys(names, "profile")
        environ = {f"SQUADRUN_{name.upper()}": "variable" for name in names[:3]}
        options = dict.fromkeys(names[:2], "option")

        found = merged(
            options={**dict.fromkeys(names), **options}, environ=environ, profile=profile
        )

        assert [getattr(found, name) for name in names] == [
            *("option", "option", "variable", "profile")
        ]

    def test_are_for_squadrun_where_nobody_says(self) -> None:
        nothing = merged(options={}, environ={"SQUADRUN_USERNAME": ""}, profile={})

        assert nothing == Settings(base_url=squadrun.BASE_URL)

    def test_name_the_identity_that_the_library_uses(self) -> None:
        given = {"base_url": "https://id.example.com/", "client_id": "c", "username": "u"}
        theirs = squadrun.manager(
            base_url=given["base_url"], client_id="c", username="u", memory=MemoryStore()
        )

        assert merged(options=given, environ={}, profile={}).key == theirs.grant.key

    @pytest.mark.parametrize(
        ("environ", "profile", "kind", "value"),
        [
            ({"SQUADRUN_PASSWORD": "p"}, {"password_file": "f"}, Kind.TEXT, "p"),
            ({"SQUADRUN_PASSWORD_FILE": "v"}, {"password_command": "c"}, Kind.FILE, "v"),
            ({"SQUADRUN_PASSWORD_COMMAND": "v"}, {"keyring": True}, Kind.COMMAND, "v"),
            ({}, {"password_file": "f", "keyring": True}, Kind.FILE, "f"),
            ({}, {"password_command": "c"}, Kind.COMMAND, "c"),
            ({}, {"keyring": True}, Kind.KEYRING, ""),
        ],
    )
    def test_take_a_secret_from_the_nearest_source(
        self, environ: dict[str, str], profile: dict[str, object], kind: Kind, value: str
    ) -> None:
        found = merged(options={}, environ=environ, profile=checked(profile))

        assert found.secrets["password"] == Source(kind, value)

    def test_take_no_secret_from_a_keyring_that_is_switched_off(self) -> None:
        assert merged(options={}, environ={}, profile=checked({"keyring": False})).secrets == {}

    @pytest.mark.parametrize(
        ("profile", "message"),
        [
            ({"password": "hunter2"}, "^password must not be in a profile: set password_file"),
            ({"client_secret": "hunter2"}, "^client_secret must not be in a profile"),
            ({"user": "u"}, "unknown setting 'user'; known are base_url, client_id, "),
            ({"username": 7}, "username must be text in quotes"),
            ({"keyring": "yes"}, "keyring must be true or false"),
            (
                {"password_file": "f", "password_command": "c"},
                "password_file and password_command are both set: keep one of them",
            ),
        ],
    )
    def test_that_are_none_are_refused_without_showing_a_secret(
        self, profile: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            checked(profile)

        assert "hunter2" not in str(caught.value)

    def test_name_the_variables_of_which_one_is_too_many(self) -> None:
        both = {"SQUADRUN_PASSWORD": "hunter2", "SQUADRUN_PASSWORD_FILE": "f"}

        with pytest.raises(ValueError, match=r"^SQUADRUN_PASSWORD and SQUADRUN_PASSWORD_FILE are "):
            merged(options={}, environ=both, profile={})

    def test_of_a_request_are_a_part_of_the_identity_where_they_are_for_the_library(self) -> None:
        profile = {"extra": {"audience": "a"}, "headers": {"X-Tenant": "t", "User-Agent": "x"}}
        theirs = squadrun.manager(
            client_id="c",
            username="u",
            memory=MemoryStore(),
            **profile,  # type: ignore[arg-type]
        )
        plain = Settings(base_url=squadrun.BASE_URL, client_id="c", username="u")

        found = replace(plain, request=request_options.read(profile))

        assert found.key == theirs.grant.key
        assert found.key != plain.key

    @pytest.mark.parametrize(
        ("profile", "message"),
        [
            ({"client_auth": "header"}, 'client_auth must be "body", "basic" or "basic-raw"'),
            ({"client_auth": ["body"]}, "client_auth must be"),
            ({"lifetime": "hunter2"}, "lifetime must be a number of seconds"),
            ({"lifetime": True}, "lifetime must be a number of seconds"),
            ({"lifetime": 0}, "lifetime must be above 0"),
            ({"lifetime": 1e12}, "lifetime must be above 0"),
            ({"extra": "hunter2"}, "extra must be a table of texts"),
            ({"extra": {"audience": 7}}, "extra must be a table of texts"),
            ({"extra": {"password": "hunter2"}}, "extra: password has an option of its own"),
            ({"headers": {"Authorization": "hunter2"}}, "headers: Authorization cannot be set"),
            ({"headers": {"X-Key": "hunter2\n"}}, "header X-Key: its value must be"),
        ],
    )
    def test_of_a_request_that_are_none_are_refused_without_showing_them(
        self, profile: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            request_options.read(profile)

        assert "hunter2" not in str(caught.value)

    def test_show_no_secret(self) -> None:  # S46
        found = merged(options={}, environ={"SQUADRUN_PASSWORD": "hunter2"}, profile={})

        assert "hunter2" not in repr(found)


class TestProfile:
    def test_is_taken_by_name(self, shell: Shell) -> None:
        shell.profile('[default]\nusername = "nobody"\n[staging]\nusername = "u2"\n')
        changes = {"SQUADRUN_USERNAME": ""}
        told = [
            json.loads(shell("status", "--json", *arguments, **changes, **named).stdout)
            for arguments, named in [
                ((), {}),
                (("--profile", "staging"), {}),
                ((), {"SQUADRUN_PROFILE": "staging"}),
            ]
        ]

        assert [(one["profile"], one["username"]) for one in told] == [
            ("default", "nobody"),
            ("staging", "u2"),
            ("staging", "u2"),
        ]

    def test_names_files_by_paths_from_its_folder(self, shell: Shell) -> None:
        path = shell.home / "elsewhere" / "my.toml"
        path.parent.mkdir()
        path.write_text('[default]\npassword_file = "secret"\ntoken_dir = "tokens"\n')
        (path.parent / "secret").write_text(f"{shell.server.password}\nand a note\n")

        answer(shell("token", "--config", str(path), SQUADRUN_PASSWORD=""))
        assert len(list((path.parent / "tokens").glob("*.json"))) == 1

    @pytest.mark.parametrize(
        ("text", "arguments", "said"),
        [
            ("[default\n", [], "is not valid TOML: "),
            (
                'username = "u"\n',
                [],
                "username is outside of a profile: move it below [default]",
            ),
            ('[default]\npassword = "hunter2"\n', [], "password must not be in a profile"),
            ('[a]\nusername = "u"\n', ["--profile", "b"], "has no profile 'b'; it has: a"),
            ("", ["--config", "/nowhere/config.toml"], "/nowhere/config.toml does not exist: "),
        ],
    )
    def test_that_is_wrong_is_told_in_a_sentence(
        self, shell: Shell, text: str, arguments: list[str], said: str
    ) -> None:
        shell.profile(text)
        told = complaint(shell("token", *arguments))

        assert said in told
        assert "hunter2" not in told

    @pytest.mark.parametrize("mode", [0o620, 0o602])
    def test_that_others_can_write_is_not_used(self, shell: Shell, mode: int) -> None:
        shell.profile('[default]\npassword_command = "touch used"\n').chmod(mode)

        assert "others can write to" in complaint(shell("token", SQUADRUN_PASSWORD=""))


class TestSecret:
    def test_comes_from_a_command_that_no_shell_sees(self, shell: Shell) -> None:
        program = shell.home / "pass"
        program.write_text('#!/bin/sh\nprintf "%s\\nnote: %s\\n" "$SECRET" "$1"\n')
        program.chmod(0o700)
        shell.profile(f"[default]\npassword_command = \"'{program}' ';touch used'\"\n")

        answer(shell("token", SQUADRUN_PASSWORD="", SECRET=shell.server.password))
        assert shell.server.grants == 1

    @pytest.mark.parametrize(
        ("variable", "value", "said"),
        [
            ("SQUADRUN_PASSWORD_FILE", "/nowhere/secret", "password_file /nowhere/secret cannot"),
            ("SQUADRUN_PASSWORD_COMMAND", "no-such-program x", "password_command cannot be run: "),
            ("SQUADRUN_PASSWORD_COMMAND", "sh -c 'exit 3'", "password_command ended with status 3"),
            ("SQUADRUN_PASSWORD_COMMAND", "true", "no password: its first line is empty"),
            ("SQUADRUN_PASSWORD_COMMAND", "it's", "password_command is not a command"),
            ("SQUADRUN_PASSWORD", "", "no password: set SQUADRUN_PASSWORD, or password_file or "),
        ],
    )
    def test_that_is_not_to_be_had_is_told_in_a_sentence(
        self, shell: Shell, variable: str, value: str, said: str
    ) -> None:
        assert said in complaint(shell("token", **{"SQUADRUN_PASSWORD": "", variable: value}))
        assert shell.server.requests == ()

    def test_of_a_keyring_that_is_gone_may_be_elsewhere(self, shell: Shell) -> None:
        path = shell.profile("[default]\nkeyring = true\n")

        assert complaint(shell("token", SQUADRUN_PASSWORD="")) == (
            "Error: no password: no usable keyring was found on this system; "
            "set SQUADRUN_PASSWORD, or password_file or password_command in a profile "
            f"(profile default of {path})"
        )

    @pytest.mark.parametrize("option", ["--password", "--client-secret"])
    def test_is_no_option(self, shell: Shell, option: str) -> None:
        assert "No such option" in complaint(shell("token", option, "x"))

    def test_is_asked_for_at_a_terminal_without_an_echo(self, shell: Shell) -> None:
        printed = shell.home / "printed"
        status, shown = shell.typed(
            "header",
            answers={"Password": shell.server.password},
            printed=str(printed),
            SQUADRUN_PASSWORD="",
        )

        assert status == 0
        assert shell.server.password not in shown
        assert printed.read_text().startswith("Authorization: Bearer ")


class TestOtherGrants:
    def kinds(self, shell: Shell) -> list[str]:
        """The grant types that were posted."""
        return [each.form["grant_type"][0] for each in shell.server.token_endpoint.requests]

    def log_in_by_device(self, shell: Shell, decide: Callable[[], None]) -> tuple[int, str]:
        with running("login", "--device", **shell.variables) as process:
            shell.server.device_endpoint.wait_for_requests(1, timeout=LONGEST)
            told = stream_of(process.stderr).readline()
            decide()
            rest = stream_of(process.stderr).read()
            return process.wait(LONGEST), told + rest

    def test_a_device_s_login_is_renewed_with_its_refresh_token(self, shell: Shell) -> None:
        status, told = self.log_in_by_device(shell, shell.server.approve_devices)

        assert status == 0
        assert told.startswith("Open https://device.example/?user_code=")
        assert " and check that it shows " in told
        assert (
            'grant = "refresh_token"' in (shell.home / "config/evertoken/config.toml").read_text()
        )
        before = answer(shell("token"))
        assert answer(shell("refresh")) == "got a new token, valid for 10 h\n"
        assert answer(shell("token")) != before
        # without the polls
        assert self.kinds(shell)[-2:] == ["refresh_token", "refresh_token"]
        assert shell.server.reuses == 0
        for secret in shell.server.secrets:
            assert secret not in told

    def test_a_login_that_was_declined_writes_nothing(self, shell: Shell) -> None:
        status, told = self.log_in_by_device(shell, shell.server.deny_devices)

        assert status == 1
        assert "access_denied" in told
        assert f"Error: {shell.server.username} at {shell.server.token_url}: " in told
        assert not (shell.home / "config").exists()

    def test_a_device_s_public_client_has_no_secret_in_a_keyring(self, shell: Shell) -> None:
        shell.profile('[default]\ngrant = "refresh_token"\nkeyring = true\n')
        shell.server.client_secret = ""
        (shell.home / "filed.py").write_text(KEYRING)
        none = {"SQUADRUN_CLIENT_SECRET": "", "SQUADRUN_PASSWORD": ""}
        none["PYTHON_KEYRING_BACKEND"] = "filed.Keyring"
        with running("login", "--device", **{**shell.variables, **none}) as process:
            shell.server.device_endpoint.wait_for_requests(1, timeout=LONGEST)
            (asked,) = shell.server.device_endpoint.requests
            process.kill()

        assert "client_secret" not in asked.form

    def test_a_device_s_login_would_not_send_what_makes_its_identity(self, shell: Shell) -> None:
        shell.profile('[default]\nheaders = { X-Tenant = "acme" }\n')
        said = complaint(shell("login", "--device"))

        assert said == (
            "Error: a device's login sends neither the extra nor the headers of the profile"
        )
        assert shell.server.requests == ()

    def test_a_device_s_login_that_has_ended_says_what_to_do(self, shell: Shell) -> None:
        self.log_in_by_device(shell, shell.server.approve_devices)
        shell.server.revoke_all()

        assert "log in again" in shell("refresh").stderr
        assert shell("token").returncode == 0  # the token that is held still serves
        assert shell("refresh").returncode == 4

    def test_the_end_of_a_login_is_in_the_status(self, shell: Shell) -> None:
        shell.server.extra = {"refresh_token_expires_in": 86_400}
        self.log_in_by_device(shell, shell.server.approve_devices)

        told = json.loads(shell("status", "--json").stdout)
        assert told["login_expires_at"] == pytest.approx(time.time() + 86_400, abs=60)
        assert "login ends" in shell("status").stdout

    def test_a_client_of_its_own_needs_no_user(self, shell: Shell) -> None:
        nobody = {"SQUADRUN_USERNAME": "", "SQUADRUN_PASSWORD": ""}
        done = shell("login", "--client-credentials", **nobody)

        assert done.returncode == 0
        assert "Set SQUADRUN_CLIENT_SECRET, or" in done.stderr
        assert answer(shell("token", **nobody)).strip() in shell.server.secrets
        assert answer(shell("refresh", **nobody))
        assert self.kinds(shell) == ["client_credentials"] * 2
        assert shell.server.client_id in shell("status", **nobody).stdout

    def test_a_profile_names_its_grant(self, shell: Shell) -> None:
        shell.profile('[default]\ngrant = "client_credentials"\n')
        answer(shell("token"))
        assert self.kinds(shell) == ["client_credentials"]
        shell.profile('[default]\ngrant = "magic"\n')
        assert (
            "grant must be password, refresh_token or client_credentials" in shell("token").stderr
        )


class TestLogin:
    @pytest.fixture
    def blank(self, shell: Shell) -> dict[str, str]:
        """Variables of who has none, but for the server."""
        (shell.home / "filed.py").write_text(KEYRING)
        names = ("CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD")
        return {f"SQUADRUN_{name}": "" for name in names}

    def answers(self, server: TokenServer) -> dict[str, str]:
        return {
            "Client id": server.client_id,
            "User name": server.username,
            "Client secret": server.client_secret,
            "Password": server.password,
        }

    def test_asks_tries_and_writes_the_profile_and_the_keyring(
        self, shell: Shell, blank: dict[str, str]
    ) -> None:
        keyring = {"PYTHON_KEYRING_BACKEND": "filed.Keyring"}
        path = shell.profile('# mine\n[staging]\nusername = "kept"\n')
        answers = self.answers(shell.server)
        status, shown = shell.typed("login", answers=answers, **blank, **keyring)

        assert status == 0
        assert not {shell.server.password, shell.server.client_secret} & set(shown.split())
        assert path.read_text().startswith('# mine\n[staging]\nusername = "kept"\n')
        assert path.stat().st_mode & 0o777 == 0o600
        # S47
        for secret in shell.server.secrets:
            assert secret not in path.read_text()
        alone = {**blank, **keyring, "SQUADRUN_BASE_URL": ""}
        assert answer(shell("token", **alone)).strip() in shell.server.secrets
        assert answer(shell("refresh", **alone)) == "got a new token, valid for 10 h\n"

    def test_offers_what_the_profile_has_and_takes_another_account(
        self, shell: Shell, blank: dict[str, str]
    ) -> None:
        keyring = {"PYTHON_KEYRING_BACKEND": "filed.Keyring"}
        server = shell.server
        path = shell.profile(f'[default]\nclient_id = "{server.client_id}"\nusername = "old"\n')
        answers = {
            f"Client id [{server.client_id}]": "",
            "User name [old]": server.username,
            "Client secret": server.client_secret,
            "Password": server.password,
        }
        status, _ = shell.typed("login", answers=answers, **blank, **keyring)

        assert status == 0
        assert f'username = "{server.username}"' in path.read_text()

    def test_writes_nothing_where_the_server_refuses(
        self, shell: Shell, blank: dict[str, str]
    ) -> None:
        keyring = {"PYTHON_KEYRING_BACKEND": "filed.Keyring"}
        answers = {**self.answers(shell.server), "Password": "wrong"}
        status, shown = shell.typed("login", answers=answers, **blank, **keyring)

        who = f"Error: {shell.server.username} at {shell.server.token_url}: "
        assert (status, f"{who}the token endpoint refused" in shown) == (4, True)
        assert not (shell.home / "config").exists()
        assert not (shell.home / "keyring.json").exists()

    def test_tries_the_credentials_though_the_file_has_a_token(self, shell: Shell) -> None:
        shell.keep(age=0, left=3600)

        assert shell("login", SQUADRUN_PASSWORD="wrong").returncode == 4

    def test_without_a_keyring_names_what_to_do(self, shell: Shell) -> None:
        done = shell("login", "--profile", "new")

        assert (done.returncode, done.stdout) == (0, "")
        assert (
            "The secrets are not kept: no usable keyring was found on this system. "
            "Set SQUADRUN_CLIENT_SECRET and SQUADRUN_PASSWORD, or "
        ) in done.stderr
        told = json.loads(shell("status", "--json", "--profile", "new").stdout)
        assert (told["profile"], told["state"]) == ("new", "fresh")

    @pytest.mark.parametrize("agreed", [True, False])
    def test_asks_before_it_uses_a_keyring_that_is_a_plain_file(
        self, shell: Shell, blank: dict[str, str], *, agreed: bool
    ) -> None:
        place = shell.home / "keyring.json"
        question = f"text in {place}. Keep them there? [y/N]"
        answers = {**self.answers(shell.server), question: "y" if agreed else ""}
        status, shown = shell.typed("login", answers=answers, **blank, **PLAIN)

        assert status == 0
        assert place.exists() == agreed
        if agreed:
            assert f"the keyring keeps the secrets in plain text in {place}" in shown
        else:
            assert (
                "The secrets are not kept: you declined to keep them in plain text. Set " in shown
            )
        profile = (shell.home / "config" / "evertoken" / "config.toml").read_text()
        assert ("keyring = true" in profile) == agreed

    @pytest.mark.usefixtures("blank")
    def test_without_a_terminal_uses_a_plain_file_only_if_an_option_says_so(
        self, shell: Shell
    ) -> None:
        place = shell.home / "keyring.json"
        refused = shell("login", **PLAIN)

        assert complaint(refused).startswith(
            f"Error: the keyring of this system keeps secrets in plain text in {place}: "
            "allow that by --plain-keyring, or name a client_secret_file and a password_file"
        )
        assert not place.exists()
        assert shell.server.token_requests == 0
        assert not (shell.home / "config").exists()

        allowed = shell("login", "--plain-keyring", **PLAIN)

        assert allowed.returncode == 0
        assert f"the keyring keeps the secrets in plain text in {place}" in allowed.stderr
        assert shell.server.password in place.read_text()

    @pytest.mark.parametrize(
        ("backends", "file"),
        [(["Plaintext", "Safe"], "a file of PlaintextKeyring"), (["Safe", "Plaintext"], None)],
    )
    def test_of_several_keyrings_in_a_row_the_first_one_counts(
        self, backends: list[str], file: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = [type(f"{name}Keyring", (), {})() for name in backends]
        monkeypatch.setattr(keyring, "get_keyring", lambda: SimpleNamespace(backends=row))

        assert secrets.plain_file() == file

    def test_names_the_package_that_brings_a_keyring(self, shell: Shell) -> None:
        done = shell("login", PYTHONPATH=without("keyring", at=shell.home))

        assert done.returncode == 0
        assert 'pip install -e ".[keyring]"' in done.stderr

    def test_asks_nothing_for_a_server_that_secrets_cannot_be_sent_to(
        self, shell: Shell, blank: dict[str, str]
    ) -> None:
        blank = {**blank, "SQUADRUN_BASE_URL": "http://example.com"}
        answers = self.answers(shell.server)
        status, shown = shell.typed("login", answers=answers, **blank)

        assert status == 2
        assert shown.startswith("Error: base_url must be https://")

    @pytest.mark.usefixtures("blank")
    def test_leaves_secrets_where_a_file_has_them(self, shell: Shell) -> None:
        (shell.home / "secret").write_text(shell.server.password)
        file = {"SQUADRUN_PASSWORD": "", "SQUADRUN_PASSWORD_FILE": str(shell.home / "secret")}
        done = shell("login", PYTHON_KEYRING_BACKEND="filed.Keyring", **file)

        assert done.returncode == 0
        kept = (shell.home / "keyring.json").read_text()
        assert shell.server.client_secret in kept
        assert shell.server.password not in kept

    def test_asks_nobody_where_nobody_sits(self, shell: Shell, blank: dict[str, str]) -> None:
        said = complaint(shell("login", **blank))
        assert said == (
            "Error: no client_id, username, client_secret, password, and no terminal to ask on: "
            "give --client-id, --username, SQUADRUN_CLIENT_SECRET, SQUADRUN_PASSWORD"
        )

    def test_that_succeeds_ends_the_refusal_of_an_earlier_one_in_the_status(
        self, shell: Shell
    ) -> None:
        assert shell("login", SQUADRUN_PASSWORD="wrong").returncode == 4
        assert "last error" in shell("status").stdout
        assert shell("login").returncode == 0

        assert "last error" not in shell("status").stdout
        assert "last error" not in shell("status", "--all").stdout
        # a refusal that comes after the token is shown
        assert shell("refresh", SQUADRUN_PASSWORD="wrong").returncode == 4
        assert "last error" in shell("status").stdout

    def test_writes_where_a_relative_folder_of_tokens_is(self, shell: Shell) -> None:
        relative = os.path.relpath(shell.home / "tokens")
        assert shell("login", "--token-dir", relative, SQUADRUN_TOKEN_DIR="").returncode == 0

        before = shell.server.token_requests
        assert answer(shell("token")).strip() in shell.server.secrets
        assert shell.server.token_requests == before

    def test_without_an_option_logs_in_as_the_profile_says(self, shell: Shell) -> None:
        path = shell.profile('[default]\ngrant = "client_credentials"\n')
        nobody = {"SQUADRUN_USERNAME": "", "SQUADRUN_PASSWORD": ""}
        assert shell("login", **nobody).returncode == 0

        assert 'grant = "client_credentials"' in path.read_text()
        assert shell.server.token_endpoint.requests[-1].form["grant_type"] == ["client_credentials"]

    def test_tells_of_a_keyring_that_keeps_nothing(self, shell: Shell) -> None:
        done = shell("login", PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring")

        assert done.returncode == 0
        assert "not kept: the keyring of this system keeps nothing. Set SQUADRUN_" in done.stderr
        assert "keyring" not in (shell.home / "config/evertoken/config.toml").read_text()

    @pytest.mark.usefixtures("blank")
    def test_without_a_terminal_does_not_send_to_itself_for_a_missing_secret(
        self, shell: Shell
    ) -> None:
        shell.profile("[default]\nkeyring = true\n")
        done = shell(
            "login",
            PYTHON_KEYRING_BACKEND="filed.Keyring",
            SQUADRUN_PASSWORD="",
            SQUADRUN_CLIENT_SECRET="",
        )

        assert complaint(done) == (
            "Error: no client_secret in the keyring, and no terminal to ask on: set "
            "SQUADRUN_CLIENT_SECRET"
        )

    def test_by_two_grants_at_once_is_refused(self, shell: Shell) -> None:
        done = shell("login", "--device", "--client-credentials")

        assert done.returncode == 2
        assert "--device and --client-credentials exclude each other" in done.stderr
        assert shell.server.requests == ()

    def test_that_kept_no_secret_is_not_recommended_again(self, shell: Shell) -> None:
        done = shell("login", PYTHONPATH=without("keyring", at=shell.home))
        assert done.returncode == 0

        shell.server.revoke_all()
        said = complaint(shell("refresh", SQUADRUN_PASSWORD=""))
        assert said == (
            "Error: no password: set SQUADRUN_PASSWORD, or password_file or password_command in a "
            "profile; `evertoken login` keeps it where the system has a keyring "
            f"(profile default of {shell.home / 'config' / 'evertoken' / 'config.toml'})"
        )


class TestEnd:
    @pytest.mark.parametrize(
        ("changes", "status", "said"),
        [
            ({"SQUADRUN_BASE_URL": "http://127.0.0.1:9"}, 1, "the connection was refused"),
            ({"SQUADRUN_BASE_URL": "http://example.com"}, 2, "base_url must be https://"),
            ({"SQUADRUN_BASE_URL": "example.com"}, 2, "base_url must be an absolute https:// URL"),
            ({"SQUADRUN_CLIENT_ID": ""}, 2, "no client_id: give --client-id, set SQUADRUN_CLIENT_"),
            ({"SQUADRUN_USERNAME": ""}, 2, "no username: give --username, set SQUADRUN_USERNAME"),
            (
                dict.fromkeys(ALL, ""),
                2,
                (
                    "no client_id and no username and no client_secret and no password: give "
                    "--client-id and --username, set SQUADRUN_CLIENT_ID and SQUADRUN_USERNAME and "
                    "SQUADRUN_CLIENT_SECRET and SQUADRUN_PASSWORD, or run `evertoken login`"
                ),
            ),
            (
                {"SQUADRUN_CLIENT_SECRET": "", "SQUADRUN_PASSWORD": ""},
                2,
                (
                    "no client_secret and no password: set SQUADRUN_CLIENT_SECRET and "
                    "SQUADRUN_PASSWORD, or run `evertoken login`"
                ),
            ),
            ({"SQUADRUN_CLIENT_SECRET": "wrong"}, 4, "invalid_client"),
        ],
    )
    def test_is_a_status_and_one_sentence(
        self, shell: Shell, changes: dict[str, str], status: int, said: str
    ) -> None:
        done = shell("token", **changes)

        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
        assert said in done.stderr

    def test_has_a_traceback_with_debug(self, shell: Shell) -> None:
        done = shell("token", "--debug", SQUADRUN_PASSWORD="wrong")

        assert done.returncode == 4
        assert "Traceback (most recent call last):" in done.stderr

    def test_of_a_mishap_names_its_kind_alone(self, shell: Shell) -> None:
        (shell.home / "sitecustomize.py").write_text(
            "import evertoken.cli.account as account\n"
            "def load(*_, **__): raise KeyError('hunter2')\n"
            "account.load = load\n"
        )
        done = shell("token")

        assert (done.returncode, done.stderr) == (
            1,
            "Error: unexpected KeyError: --debug shows where\n",
        )

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
    def test_of_an_output_that_is_full_names_the_reason(self, shell: Shell) -> None:
        shell.keep(age=0, left=3600)
        status, shown = shell.typed("token", answers={}, printed="/dev/full")

        assert status != 0
        assert shown.startswith("Error: No space left on device: ")

    def test_of_an_output_that_nobody_reads_is_quiet(self, shell: Shell) -> None:
        shell.keep(age=0, left=3600)
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run(  # noqa: S603  the command under test
                [COMMAND, "header"],
                env=environment(**shell.variables),
                stdout=writer,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
            )
        finally:
            os.close(writer)

        assert (done.returncode, done.stderr) == (1, b"")

    def test_of_a_remembered_failure_says_so(self, shell: Shell) -> None:
        wrong = {"SQUADRUN_PASSWORD": "wrong"}
        first, again = shell("token", **wrong), shell("token", **wrong)

        assert (again.returncode, shell.server.token_requests) == (4, 1)
        assert "remembered" not in first.stderr
        assert again.stderr.startswith(f"{first.stderr.rstrip()} (remembered since ")
        assert again.stderr.count("\n") == 1
        assert "remembered" not in shell("token", SQUADRUN_PASSWORD="wrong too").stderr

    def test_of_a_question_without_an_answer_is_an_interrupt(self, shell: Shell) -> None:
        end_of_input = "\x04"
        status, shown = shell.typed(
            "token", answers={"Password": end_of_input}, SQUADRUN_PASSWORD=""
        )

        assert status == 130
        assert shown.endswith("\r\nError: interrupted\r\n")

    def test_of_a_wait_for_the_server_is_an_interrupt(self, shell: Shell) -> None:
        shell.server.hang()
        with running("token", **shell.variables) as process:
            shell.server.wait_for_held(timeout=60)
            process.send_signal(signal.SIGINT)
            said, complained = process.communicate(timeout=60)

        assert (process.returncode, said) == (130, "")
        assert complained == "\nError: interrupted\n"

    def test_is_quiet_unless_verbose(self, shell: Shell) -> None:
        assert answer(shell("refresh")) != ""
        done = shell("refresh", "--verbose")

        assert done.returncode == 0
        who = f"{shell.server.username} at {shell.server.token_url}"
        assert done.stderr.startswith(f"evertoken: {who}: token from grant in ")


class TestShell:
    def test_completes_commands(self, shell: Shell) -> None:
        words = {"COMP_WORDS": "evertoken re", "COMP_CWORD": "1"}
        done = shell(_EVERTOKEN_COMPLETE="bash_complete", **words)

        assert done.stdout.split() == ["plain,refresh", "plain,revoke"]

    def test_has_a_whole_sentence_for_each_command(self, shell: Shell) -> None:
        told = answer(shell("--help")).partition("Commands:\n")[2].splitlines()[:9]

        assert [line for line in told if not line.endswith(".") or line.endswith("...")] == []

    def test_is_told_how_in_the_help(self, shell: Shell) -> None:
        told = answer(shell("--help"))

        assert 'eval "$(_EVERTOKEN_COMPLETE=bash_source evertoken)"' in told
        assert [line.split()[0] for line in told.partition("Commands:\n")[2].splitlines()[:9]] == [
            *("token", "header", "exec", "status", "refresh", "revoke", "login", "sandbox", "demo")
        ]


def test_help_loads_neither_an_http_client_nor_a_terminal_library() -> None:
    program = (
        "import sys; from evertoken.cli.app import evertoken; "
        "evertoken(['--help'], standalone_mode=False); "
        "sys.exit(' '.join({'requests', 'rich', 'filelock', 'django'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(  # noqa: S603  the command under test
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (35999, "9 h 59 min"),
        (36000, "10 h"),
        (3601, "1 h"),
        (100000, "1 d 3 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "refused", "words"),
    [
        (0.2, False, "in 1 s; now by `evertoken refresh`"),
        (299.5, True, "in 5 min; with other credentials at once, or now by `evertoken refresh`"),
    ],
)
def test_the_next_try_is_not_told_too_early(seconds: float, *, refused: bool, words: str) -> None:
    assert next_try(seconds, "`evertoken refresh`", refused=refused) == words


def test_an_error_about_a_secret_names_its_profile(shell: Shell) -> None:
    path = shell.profile('[staging]\npassword_command = "false"\n')
    said = complaint(shell("token", "--profile", "staging", SQUADRUN_PASSWORD=""))

    assert said == f"Error: password_command ended with status 1 (profile staging of {path})"


def test_a_secret_that_cannot_be_read_is_told_while_the_token_lasts(shell: Shell) -> None:
    shell.keep(age=3500, left=100)
    gone = {"SQUADRUN_PASSWORD": "", "SQUADRUN_PASSWORD_FILE": str(shell.home / "gone")}
    done = shell("token", **gone)

    assert (done.returncode, done.stdout) == (0, "kept-token\n")
    assert (
        f"the token was not renewed yet: password_file {shell.home / 'gone'} cannot" in done.stderr
    )
    # nobody misses one that was never configured
    assert shell("token", SQUADRUN_PASSWORD="", SQUADRUN_CLIENT_SECRET="").stderr == ""


def test_a_locked_keyring_does_not_turn_a_client_into_a_public_one(shell: Shell) -> None:
    shell.profile('[default]\ngrant = "refresh_token"\nkeyring = true\n')
    said = complaint(shell("token", SQUADRUN_CLIENT_SECRET=""))

    assert said.startswith("Error: no client_secret: no usable keyring was found on this system; ")
    assert shell.server.requests == ()
