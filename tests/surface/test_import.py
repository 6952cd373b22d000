"""The cost of an import: which modules each way of use loads. `benchmarks.cold_start` times it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, Token, TokenKey
from evertoken.core.entry import Entry
from evertoken.runtime.extras import how_to_install
from support.console import without

if TYPE_CHECKING:
    from pathlib import Path

OPTIONAL = {
    *("click", "django", "filelock", "freezegun", "oauth2_provider", "platformdirs", "pytest"),
    *("redis", "rest_framework", "rich", "waitress"),
}

HTTP = {"requests", "urllib3", "http", "ssl", "socket"}

BARE = "import evertoken"
ALL = "from evertoken import *"
IN_USE = """
from evertoken import PasswordGrant, TokenManager, BearerAuth
grant = PasswordGrant("https://a.example/", client_id="c", username="u", password="p")
auth = BearerAuth(TokenManager(grant))
auth.manager.status()
"""

WARM = """
import os, requests
from evertoken import BearerAuth, FileStore, PasswordGrant, TokenManager
grant = PasswordGrant("https://a.example/", client_id="c", username="u", password="p")
auth = BearerAuth(TokenManager(grant, store=FileStore(os.environ["TOKEN_FOLDER"])))
request = auth(requests.Request("GET", "https://a.example/leads/").prepare())
assert request.headers["Authorization"] == "Bearer kept"
"""

WARM_MANAGER = """
import os
from evertoken import FileStore, PasswordGrant, TokenManager, errors
grant = PasswordGrant("https://a.example/", client_id="c", username="u", password="p")
manager = TokenManager(grant, store=FileStore(os.environ["TOKEN_FOLDER"]))
assert manager.header() == f"Bearer {manager.token().value}" == "Bearer kept"
"""


def printed_by(program: str, **environment: str) -> str:
    """The output of a new interpreter."""
    return subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def loaded_by(program: str, *, after: str = "import sys, json") -> set[str]:
    """The top-level modules that `program` loads after `after` has run."""
    report = (
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - old})))"
    )
    lines = ["import sys, json", after, "old = set(sys.modules)", program, report]
    return set(json.loads(printed_by("\n".join(lines))))


@pytest.fixture
def token_folder(tmp_path: Path) -> Path:
    """A folder with the token that `WARM` and `WARM_MANAGER` request."""
    now = time.time()
    key = TokenKey("https://a.example/", "c", "u")
    FileStore(tmp_path).save(key, Entry.of_token(Token("kept", now, now + 3600)))
    return tmp_path


class TestModules:
    @pytest.mark.parametrize("program", [BARE, ALL, IN_USE], ids=["bare", "all names", "in use"])
    def test_of_an_extra_are_not_loaded(self, program: str) -> None:
        loaded = loaded_by(program)

        assert "evertoken" in loaded
        assert loaded & OPTIONAL == set()

    @pytest.mark.parametrize(
        "program",
        [
            BARE,
            "import evertoken.errors",
            "from evertoken import GrantRefused, TokenError",
            "from evertoken import FileStore, MemoryStore, PasswordGrant, RefreshPolicy",
            "from evertoken import Status, Token, TokenKey, TokenManager",
            "from evertoken import squadrun; squadrun.manager",
            "import evertoken.cli.commands.token, evertoken.cli.obtain, evertoken.cli.account",
        ],
    )
    def test_of_an_http_client_are_not_loaded_with_a_name_that_needs_none(
        self, program: str
    ) -> None:
        assert loaded_by(program) & HTTP == set()

    def test_of_the_metadata_are_loaded_with_the_version_alone(self) -> None:
        report = "print('importlib.metadata' in sys.modules)"
        bare = printed_by(f"import sys, evertoken; {report}")
        asked = printed_by(f"import sys, evertoken; evertoken.__version__; {report}")

        assert (bare.strip(), asked.strip()) == ("False", "True")

    def test_of_an_http_client_are_loaded_with_its_auth(self) -> None:
        assert "requests" in loaded_by("from evertoken import BearerAuth")

    def test_of_an_http_client_are_not_loaded_by_a_manager_that_finds_its_token(
        self, token_folder: Path
    ) -> None:
        report = "print(json.dumps(sorted(sys.modules)))"
        program = f"import json, sys\n{WARM_MANAGER}\n{report}"
        loaded = set(json.loads(printed_by(program, TOKEN_FOLDER=str(token_folder))))

        assert "evertoken.stores.file" in loaded
        assert loaded & {*HTTP, "evertoken.requests_errors"} == set()

    def test_of_the_pytest_plugin_are_only_its_own(self) -> None:
        assert loaded_by("import evertoken.testing.plugin", after="import pytest") == {"evertoken"}

    def test_that_renew_are_not_loaded_if_a_token_is_found(self, token_folder: Path) -> None:
        report = "print(json.dumps(sorted(sys.modules)))"
        program = f"import json, sys\n{WARM}\n{report}"
        loaded = set(json.loads(printed_by(program, TOKEN_FOLDER=str(token_folder))))

        assert "evertoken.stores.file" in loaded
        modules = {
            "": ("events", "requests_errors", "status"),
            "core.": ("exclusive", "outcome", "protocol", "renewal", "revocation"),
            "engine.": ("driver", "health", "in_flight", "store_watcher"),
            "grants.": (
                *("adapters", "answer", "body", "client_auth", "connection", "endpoint"),
                *("error_answer", "failures", "masking", "response", "revocation", "sessions"),
                "travelling",
            ),
            "runtime.": ("pool", "scheduler"),
        }
        renewing = {f"evertoken.{where}{it}" for where, names in modules.items() for it in names}
        # a renamed module would count as not loaded
        assert all(importlib.util.find_spec(name) for name in renewing)
        assert loaded & {"cachetools", "concurrent", "cryptography", "filelock"} == set()
        assert loaded & renewing == set()


class TestMissingExtra:
    @pytest.mark.parametrize(
        ("module", "package", "extra"),
        [
            ("evertoken.contrib.prometheus", "prometheus_client", "prometheus"),
            ("evertoken.contrib.opentelemetry", "opentelemetry", "opentelemetry"),
            ("evertoken.cli.app", "click", "cli"),
            ("evertoken.demo", "rich", "demo"),
        ],
    )
    def test_is_named_with_the_command_that_installs_it(
        self, module: str, package: str, extra: str, tmp_path: Path
    ) -> None:
        program = f"""
try:
    import {module}
except ImportError as error:
    print(error.name.partition(".")[0], error)
"""
        said = printed_by(program, PYTHONPATH=without(package, at=tmp_path))

        sentence = f"{module.removesuffix('.app')} needs the package {package}: "
        assert said.startswith(f"{package} {sentence}{how_to_install(extra)} (No module named ")
