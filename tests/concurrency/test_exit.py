"""Ctrl-C, interpreter exit, and a killed lock holder, each in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, TokenKey
from evertoken.runtime.reports import EXIT_WAIT
from evertoken.testing import TokenServer
from support.fleet import eventually
from support.fleet_worker import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


def script(server: TokenServer, body: str, folder: Path) -> subprocess.Popen[str]:
    """A Python process with a variable `manager`, whose output can be read."""
    prologue = f"""
        import os, sys, threading, time
        from evertoken import FileStore, PasswordGrant, RefreshPolicy, RefreshTimeout, TokenManager
        grant = PasswordGrant(
            {server.token_url!r}, client_id={server.client_id!r},
            client_secret={server.client_secret!r}, username={server.username!r},
            password={server.password!r},
        )
        manager = TokenManager(grant, store=FileStore({str(folder)!r}))
    """
    source = textwrap.dedent(prologue) + textwrap.dedent(body)
    return subprocess.Popen(  # noqa: S603  a test's own script
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def key_of(server: TokenServer) -> TokenKey:
    return TokenKey(server.token_url, server.client_id, server.username)


def is_free(server: TokenServer, folder: Path) -> bool:
    with FileStore(folder).lock(key_of(server), timeout=0.0) as held:
        return bool(held)


def test_ctrl_c_ends_the_wait_at_once_and_the_renewal_goes_on(  # F5
    server: TokenServer, tmp_path: Path
) -> None:
    server.hang()
    child = script(
        server,
        """
        try:
            manager.token()
        except KeyboardInterrupt:
            print("interrupted", manager.status().renewing, flush=True)
        print(manager.token().value, flush=True)
        """,
        tmp_path,
    )
    assert child.stdout is not None
    server.wait_for_held()
    started = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted True\n"
    # the endpoint is still silent, so the signal has ended the wait
    assert time.monotonic() - started < 5.0
    server.recover()
    output, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert output.strip() in server.secrets
    assert server.token_requests == 1
    assert is_free(server, tmp_path)


@pytest.mark.parametrize("ending", ["", "raise SystemExit(0)", "sys.exit()"])
def test_a_hanging_renewal_does_not_delay_the_exit(  # F6
    server: TokenServer, tmp_path: Path, ending: str
) -> None:
    server.hang()
    child = script(
        server,
        f"""
        threading.Thread(target=manager.token, daemon=True).start()
        while not manager.status().renewing:
            time.sleep(0.001)
        while not os.path.exists({str(tmp_path / "go")!r}):
            time.sleep(0.001)
        print(time.monotonic(), flush=True)
        {ending}
        """,
        tmp_path,
    )
    server.wait_for_held()
    (tmp_path / "go").touch()
    output, errors = child.communicate(timeout=20)
    took = time.monotonic() - float(output)
    assert (child.returncode, errors) == (0, "")
    # a request that hangs would hold it for its timeout, 10 s
    assert took < EXIT_WAIT + 5.0
    assert is_free(server, tmp_path)


def test_a_handler_at_exit_may_still_call_the_api(server: TokenServer, tmp_path: Path) -> None:
    child = script(
        server,
        """
        import atexit
        atexit.register(lambda: print(manager.token().value, flush=True))
        """,
        tmp_path,
    )
    output, errors = child.communicate(timeout=20)
    assert (child.returncode, errors) == (0, "")
    assert output.strip() in server.secrets


def test_a_killed_process_leaves_no_lock_although_its_child_lives_on(  # F4
    server: TokenServer, tmp_path: Path
) -> None:
    server.hang()
    child = script(
        server,
        """
        threading.Thread(target=manager.token, daemon=True).start()
        while not manager.status().renewing:
            time.sleep(0.001)
        while not os.path.exists(GO):
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
        time.sleep(60)
        """.replace("GO", repr(str(tmp_path / "go"))),
        tmp_path,
    )
    assert child.stdout is not None
    server.wait_for_held()
    assert not is_free(server, tmp_path)
    (tmp_path / "go").touch()
    grandchild = int(child.stdout.readline())
    try:
        child.kill()
        child.wait(20)
        eventually(lambda: is_free(server, tmp_path), within=1.0)
        os.kill(grandchild, 0)
        server.recover()
        settings = Settings.of(server, directory=str(tmp_path), timeout=5.0)
        assert settings.manager(0).token().value in server.secrets
    finally:
        os.kill(grandchild, signal.SIGKILL)
    child.communicate(timeout=20)


def test_a_stopped_lock_holder_costs_a_bounded_wait(  # F14
    server: TokenServer, tmp_path: Path
) -> None:
    server.hang()
    child = script(server, "manager.token()", tmp_path)
    server.wait_for_held()
    child.send_signal(signal.SIGSTOP)
    try:
        server.token_endpoint.recover()
        patient = Settings.of(server, directory=str(tmp_path), timeout=4.0).manager(0)
        started = time.monotonic()
        token = patient.token()
        took = time.monotonic() - started
        # it waits for half of its timeout (with full jitter an eighth more), then sends its own
        # request
        assert 1.9 < took < 4.0
        # a new process finds its token, although the lock is still held
        later = Settings.of(server, directory=str(tmp_path), timeout=4.0).manager(0)
        assert later.token() == token
        assert server.grants == 1
    finally:
        child.kill()
        child.communicate(timeout=20)
    assert is_free(server, tmp_path)
