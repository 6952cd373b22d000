"""The fixtures that pytest finds in every project that has evertoken installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import (
    BearerAuth,
    FileStore,
    GrantRefused,
    MemoryStore,
    TokenError,
    TokenManager,
    squadrun,
)
from evertoken.testing import TokenServer
from support.http_clients import manager_of

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken.testing import FrozenTimeManager

pytest_plugins = ("pytester",)


def test_the_manager_uses_the_server(
    token_manager: TokenManager, token_server: TokenServer
) -> None:
    response = requests.get(token_server.api_url, auth=BearerAuth(token_manager), timeout=60)

    assert response.status_code == 200
    assert token_server.grants == 1


def test_a_manager_can_revoke(token_manager: TokenManager, token_server: TokenServer) -> None:
    token = token_manager.token()
    token_manager.revoke()

    revoked = [each.form["token"] for each in token_server.revocation_endpoint.requests]
    assert [token.value] in revoked


def test_the_manager_gets_the_faults_of_its_server(
    token_manager: TokenManager, token_server: TokenServer
) -> None:
    token_server.refuse("invalid_grant")

    with pytest.raises(GrantRefused, match="invalid_grant"):
        token_manager.token()


def test_code_that_makes_its_own_auth_uses_the_server(squadrun_environment: TokenServer) -> None:
    auth = squadrun.auth(memory=MemoryStore())
    response = requests.get(squadrun_environment.api_url, auth=auth, timeout=60)

    assert response.status_code == 200
    assert squadrun_environment.grants == 1


def test_the_environment_is_restored_afterwards(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        from evertoken import squadrun

        before = {"SQUADRUN_USERNAME": "mine", "SQUADRUN_TOKEN_DIR": "/nonexistent/mine"}
        os.environ.update(before)

        def test_that_uses_it(squadrun_environment):
            assert squadrun.manager().token()
            assert squadrun.manager().store is None
            assert os.environ["SQUADRUN_BASE_URL"] == squadrun_environment.base_url

        def test_after_it():
            found = {name: it for name, it in os.environ.items() if name.startswith("SQUADRUN_")}
            assert found == before
        """
    )

    done = pytester.runpytest_subprocess("-W", "error", "-p", "no:randomly")
    done.assert_outcomes(passed=2)


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
@pytest.mark.parametrize("trouble", ["outage", "refusal", "a closed port"])
def test_a_manager_renews_at_once_after_the_server_has_recovered(
    token_server: TokenServer, tmp_path: Path, trouble: str, *, shared: bool
) -> None:
    store = FileStore(tmp_path) if shared else None
    managers = [manager_of(token_server, store=store) for _ in range(2)]
    if trouble == "a closed port":
        token_server.close()
    elif trouble == "outage":
        token_server.outage(503, retry_after=300)
    else:
        token_server.refuse("invalid_grant")
    for manager in managers:
        with pytest.raises(TokenError):
            manager.token()
    token_server.start()
    token_server.recover()

    assert [manager.token().lifetime for manager in managers] == [36000, 36000]
    assert managers[0].status().last_error is None


def test_a_manager_keeps_its_fresh_token_after_the_server_has_recovered(
    token_server: TokenServer,
) -> None:
    manager = manager_of(token_server)
    before = manager.token()
    token_server.outage(503, retry_after=300)
    with pytest.raises(TokenError):
        manager.refresh()
    token_server.recover()

    assert [manager.token() for _ in range(3)] == [before] * 3
    assert manager.settle() is None
    assert token_server.token_requests == 2
    assert manager.status().last_error is None


def test_a_manager_of_another_server_still_waits(token_server: TokenServer) -> None:
    with TokenServer() as other:
        other.outage(503, retry_after=300)
        manager = manager_of(other)
        with pytest.raises(TokenError):
            manager.token()
        token_server.recover()
        with pytest.raises(TokenError, match="remembered since"):
            manager.token()


def test_two_managers_of_one_server_share_no_token(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from evertoken.testing import TokenServer

        @pytest.fixture(scope="module")
        def token_server():
            with TokenServer() as server:
                yield server

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it(turn, token_manager, token_server):
            before = token_server.grants
            assert token_manager.token().value
            assert token_server.grants == before + 1
        """
    )

    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=2)


def test_time_stands_still_until_the_test_moves_it(
    frozen_time_manager: FrozenTimeManager, token_server: TokenServer
) -> None:
    manager, time = frozen_time_manager
    first = manager.token()
    time.tick(35_000)
    assert manager.token() == first
    time.tick(2_000)
    second = manager.token()

    assert second != first
    assert second.issued_at - first.issued_at == pytest.approx(37_000, abs=60)
    assert token_server.grants == 2


def test_the_server_uses_the_same_clock(
    frozen_time_manager: FrozenTimeManager, token_server: TokenServer
) -> None:
    manager, time = frozen_time_manager
    headers = {"Authorization": f"Bearer {manager.token().value}"}

    def status() -> int:
        return requests.get(token_server.api_url, headers=headers, timeout=60).status_code

    assert status() == 200
    time.tick(36_000)
    assert status() == 401


def test_moving_the_time_does_not_touch_the_durations_that_pytest_reports(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        def test_it(frozen_time_manager):
            frozen_time_manager.time.tick(86_400)
        """
    )
    result = pytester.runpytest_subprocess("--durations=0", "--durations-min=0")

    result.assert_outcomes(passed=1)
    told = re.findall(r"^([\d.]+)s (setup|call|teardown) ", result.stdout.str(), re.MULTILINE)
    assert {phase for _, phase in told} == {"setup", "call", "teardown"}
    assert all(float(seconds) < 60 for seconds, _ in told)


def test_without_freezegun_its_remedy_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys; sys.modules['freezegun'] = None")
    pytester.makepyfile("def test_it(frozen_time_manager): ...")
    result = pytester.runpytest_subprocess()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needs freezegun: pip install freezegun*"])


def test_pytest_lists_the_fixtures_with_their_purpose(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures")

    result.stdout.fnmatch_lines_random(
        [
            "token_server*",
            "*A token server on loopback*",
            "token_manager*",
            "*A manager that uses `token_server`*",
            "squadrun_environment*",
            "*which code that calls `squadrun.auth()`*",
            "frozen_time_manager*",
        ]
    )


def test_the_plugin_adds_nothing_heavy_until_it_is_used() -> None:
    program = (
        "import sys, json, pytest\n"
        "before = set(sys.modules)\n"
        "import evertoken.testing.plugin\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run(  # noqa: S603  a program of its own
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )

    assert json.loads(done.stdout) == [
        "evertoken",
        "evertoken.testing",
        "evertoken.testing.plugin",
    ]


def test_a_rule_of_a_contract_that_fails_shows_what_it_compared(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        from evertoken.testing import GrantContract

        class TestNoGrant(GrantContract):
            @pytest.fixture
            def make_grant(self):
                return object
        """)
    result = pytester.runpytest_subprocess("-k", "test_it_is_a_grant")

    result.stdout.fnmatch_lines(["*where False = isinstance(<object object at *>, Grant)"])
