"""The command `evertoken`: its help, its sandbox, and its usage errors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import MemoryStore, squadrun
from support.console import complaint, ran, running, stream_of, without

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken import BearerAuth


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def settings_of(process: subprocess.Popen[str]) -> dict[str, str]:
    """The settings that a sandbox prints when it is ready."""
    lines = [stream_of(process.stdout).readline().rstrip("\n") for _ in range(5)]
    return dict(line.split("=", 1) for line in lines)


def taken_over(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> BearerAuth:
    """`auth=` of a program in a shell that has exported the settings."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return squadrun.auth(memory=MemoryStore())


def read(settings: dict[str, str], auth: BearerAuth | None) -> int:
    url = f"{settings['SQUADRUN_BASE_URL']}/api/v4/leads/responses/7/"
    return requests.get(url, auth=auth, timeout=30).status_code


class TestHelp:
    def test_names_the_commands(self) -> None:
        done = ran("--help")

        assert (done.returncode, done.stderr) == (0, "")
        assert "\n  demo " in done.stdout
        assert "\n  sandbox " in done.stdout

    @pytest.mark.parametrize(
        ("command", "options"),
        [
            (
                "sandbox",
                {"--port", "--expires-in", "--auth-failure", "--rate-limit", "--data"},
            ),
            (
                "demo",
                {"--seconds", "--workers", "--threads", "--expires-in", "--base-url", "--write"},
            ),
        ],
    )
    def test_of_a_command_names_its_options(self, command: str, options: set[str]) -> None:
        done = ran(command, "--help")

        assert (done.returncode, done.stderr) == (0, "")
        assert {option for option in options if f"\n  {option} " in done.stdout} == options

    def test_of_the_version_is_one_line(self) -> None:
        assert ran("--version").stdout == "evertoken, version 0.2.0.dev0\n"

    def test_of_the_module_is_that_of_the_command(self) -> None:
        printed = subprocess.run(
            [sys.executable, "-m", "evertoken", "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

        assert printed.replace("python -m evertoken", "evertoken") == ran("--help").stdout


class TestSandbox:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_is_used_through_its_five_lines_and_ended_by_a_signal(
        self, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with running("sandbox", "--port", "0", "--fast-hashing", TMPDIR=str(tmp_path)) as process:
            settings = settings_of(process)
            status = read(settings, taken_over(settings, monkeypatch))
            process.send_signal(number)
            printed, said = process.communicate(timeout=30)

        base_url = settings.pop("SQUADRUN_BASE_URL")
        assert base_url.startswith("http://127.0.0.1:")
        assert settings == {
            "SQUADRUN_CLIENT_ID": "test_client_id",
            "SQUADRUN_CLIENT_SECRET": "test_client_secret",
            "SQUADRUN_USERNAME": "test_api_user",
            "SQUADRUN_PASSWORD": "test_api_password",
        }
        assert status == 200
        assert (process.returncode, printed, said) == (0, "", "")
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(requests.ConnectionError):
            requests.get(base_url, timeout=30)

    def test_prints_its_settings_as_json(self) -> None:
        with running("sandbox", "--fast-hashing", "--json") as process:
            told = json.loads(stream_of(process.stdout).readline())
            process.terminate()
            printed, said = process.communicate(timeout=30)

        assert told["SQUADRUN_USERNAME"] == "test_api_user"
        assert len(told) == 5
        assert (process.returncode, printed, said) == (0, "", "")

    def test_follows_its_options(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        options = ["--expires-in", "7", "--auth-failure", "403", "--rate-limit", "2/min"]
        data = tmp_path / "kept"
        with running("sandbox", "--fast-hashing", "--data", str(data), *options) as process:
            settings = settings_of(process)
            auth = taken_over(settings, monkeypatch)
            statuses = [read(settings, None), read(settings, auth), read(settings, auth)]
            process.terminate()
            process.wait(30)

        assert auth.manager.token().lifetime == 7
        assert statuses == [403, 200, 429]  # the grant was the first of the two allowed calls
        assert (data / "sandbox.sqlite3").exists()

    def test_is_not_served_on_a_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = complaint(ran("sandbox", "--port", str(port)))

        assert said.startswith(f"Error: cannot listen on port {port} of 127.0.0.1")
        assert said.endswith("choose another port, or 0 for any free one")


class TestBadUse:
    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["fly"], "'fly'"),
            (["sandbox", "--nope"], "--nope"),
            (["sandbox", "--port", "x"], "'--port'"),
            (["sandbox", "--port", "65536"], "port is 0 to 65535"),
            (["sandbox", "--expires-in", "0"], "expires_in is 1 to"),
            (["sandbox", "--auth-failure", "500"], "'--auth-failure'"),
            (["sandbox", "--rate-limit", "fast"], "'fast' is not a number of calls a minute"),
            (["sandbox", "--rate-limit", "0/min"], "rate_limit is at least 1"),
            (["sandbox", "--data", f"{os.devnull}/below"], f"{os.devnull}/below cannot be used"),
            (["demo", "--seconds", "0"], "--seconds must be a number above 0"),
            (["demo", "--seconds", "nan"], "--seconds must be a number above 0"),
            (["demo", "--workers", "0"], "--workers must be a number above 0"),
            (["demo", "--expires-in", "99999999999"], "expires_in is 1 to"),
            (["demo", "--base-url", "http://example.com"], "--base-url must be https://"),
            (["demo", "--base-url", "example.com"], "--base-url must be an absolute https:// URL"),
        ],
    )
    def test_ends_with_a_sentence_that_names_what_is_wrong(
        self, arguments: list[str], named: str
    ) -> None:
        said = complaint(ran(*arguments))

        assert said.startswith("Error: ")
        assert named in said


class TestMissingExtra:
    @pytest.mark.parametrize(
        ("missing", "arguments", "remedy"),
        [
            (["click"], ["--help"], 'pip install -e ".[cli]"'),
            (["rich"], ["demo"], 'pip install -e ".[cli]"'),
            (["django"], ["sandbox"], 'pip install -e ".[sandbox]"'),
            (["oauth2_provider", "waitress"], ["sandbox"], 'pip install -e ".[sandbox]"'),
            (["django"], ["demo"], 'pip install -e ".[sandbox]"'),
        ],
    )
    def test_is_named_with_the_command_that_installs_it(
        self, missing: list[str], arguments: list[str], remedy: str, tmp_path: Path
    ) -> None:
        said = complaint(ran(*arguments, PYTHONPATH=without(*missing, at=tmp_path)))

        assert f"needs {', '.join(missing)}, not installed here: " in said
        assert said.endswith(remedy)

    def test_of_the_sandbox_does_not_stop_the_rest(self, tmp_path: Path) -> None:
        done = ran("--help", PYTHONPATH=without("django", at=tmp_path))

        assert (done.returncode, done.stderr) == (0, "")
