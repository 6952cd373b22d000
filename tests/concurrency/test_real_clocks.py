"""Processes whose clocks are really set: by libfaketime and by the kernel's time namespaces."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from evertoken.testing import TokenServer
from support.fleet_worker import Settings, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HOUR = 3600.0

SKIPPED = 77
"""The exit status of a process that cannot run its test and prints the reason."""

PREAMBLE = """
import json, os, select, sys, time
from evertoken.runtime import clock
from support.fleet_worker import Settings
settings = Settings(**json.load(sys.stdin))
manager = settings.manager(0)
"""


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer(expires_in=7 * HOUR) as server:
        yield server


def run(
    code: str,
    server: TokenServer,
    directory: Path | None,
    *,
    prefix: Sequence[str] = (),
    args: Sequence[str] = (),
    **more: str,
) -> None:
    """Run `code` in a process with a `manager` for the server. A failure there fails here."""
    settings = Settings.of(server, directory=None if directory is None else str(directory))
    fields = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
    done = subprocess.run(  # noqa: S603  literal
        [*prefix, sys.executable, "-c", PREAMBLE + code, *args],
        input=json.dumps(fields),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**more),
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


# --- libfaketime ---------------------------------------------------------------------------------


@pytest.fixture
def faked(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that sets its wall clock by writing to `$CLOCK`."""
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("libfaketime is not installed")
    told = subprocess.run(  # noqa: S603  literal
        [faketime, "-f", "+0", "printenv", "LD_PRELOAD"],
        capture_output=True,
        text=True,
        check=True,
    )
    offset = tmp_path / "offset"
    offset.write_text("+0")
    return {
        "LD_PRELOAD": told.stdout.strip(),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "CLOCK": str(offset),
    }


SETTING = """
def set_clock(offset):
    with open(os.environ["CLOCK"], "w") as file:
        file.write(offset)
first = manager.token()
real = time.time()
"""

ALL_FAKED = """
token = manager.token()
assert abs(token.issued_at - time.time()) < 5
assert manager.refresh() != token
"""


def test_a_token_is_renewed_on_a_day_far_in_the_future(
    faked: dict[str, str], server: TokenServer, tmp_path: Path
) -> None:  # F16
    more = {"LD_PRELOAD": faked["LD_PRELOAD"], "FAKETIME": "+400d"}
    run(ALL_FAKED, server, tmp_path, **more)
    assert server.token_requests == 2


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
@pytest.mark.parametrize("offset", ["-1d", "-1h", "+1h", "+1d"])
def test_setting_the_clock_costs_at_most_one_grant(  # F16
    faked: dict[str, str], server: TokenServer, tmp_path: Path, offset: str, *, shared: bool
) -> None:
    code = f"""
set_clock({offset!r})
assert abs(time.time() - real) > 3000, "the clock was not set"
for _ in range(3):
    token = manager.token()
    assert time.time() < token.expires_at
assert ({offset!r} != "+1d") or token != first
"""
    run(SETTING + code, server, tmp_path if shared else None, **faked)
    assert server.token_requests <= 2


def test_a_clock_set_back_prolongs_no_token(  # F16
    faked: dict[str, str], tmp_path: Path
) -> None:
    code = """
set_clock("-1d")
while (token := manager.token()) == first:
    assert clock.since_boot() - first.issued_boot < 2.0, "sent after its end"
    select.select([], [], [], 0.01)
"""
    with TokenServer(expires_in=2) as server:
        run(SETTING + code, server, tmp_path, **faked)
        assert server.token_requests == 2


def test_a_lock_is_waited_for_although_time_sleep_fails(
    faked: dict[str, str], server: TokenServer, tmp_path: Path
) -> None:  # F28
    code = """
from evertoken import FileStore
one, other = (FileStore(os.path.dirname(os.environ["CLOCK"])) for _ in range(2))
started = clock.since_boot()
with one.lock(manager.grant.key, timeout=0) as mine:
    with other.lock(manager.grant.key, timeout=0.3) as theirs:
        assert (mine, theirs) == (True, False)
assert clock.since_boot() - started > 0.29
"""
    run(code, server, tmp_path, **faked)


def test_the_floor_between_grants_holds_although_time_sleep_fails(  # F16, F28
    faked: dict[str, str], tmp_path: Path
) -> None:
    code = """
try:
    time.sleep(0.01)
except OSError:
    started = clock.since_boot()
    tokens = {manager.token().value for _ in range(3)}
    assert len(tokens) == 3
    assert clock.since_boot() - started > 0.9
else:
    print("this libfaketime lets time.sleep() be", file=sys.stderr)
    sys.exit(77)
"""
    with TokenServer(expires_in=0) as server:
        run(SETTING + code, server, tmp_path, **faked)
        assert server.token_requests == 4


# --- time namespaces -----------------------------------------------------------------------------

UNSHARE = ["unshare", "--user", "--map-root-user"]


def aged(hours: float) -> list[str]:
    """A command prefix that makes the machine appear to be up for longer."""
    return ["--time", "--boottime", str(int(hours * HOUR)), "--fork"]


@pytest.fixture
def namespaces() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("this system has no unshare(1)")
    tried = subprocess.run(  # noqa: S603  literal
        [*UNSHARE, *aged(1), "true"], capture_output=True, check=False
    )
    if tried.returncode:
        pytest.skip("this kernel or user makes no time namespaces")


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("hours", [0.0, 100.0])
def test_a_container_with_its_own_boot_clock_shares_the_file(  # F16
    server: TokenServer, tmp_path: Path, hours: float
) -> None:
    first = Settings.of(server, directory=str(tmp_path)).manager(0).token()
    code = f"""
token = manager.token()
assert token.value == {first.value!r}
# dated again, on the clock of this process
assert abs(clock.since_boot() - token.issued_boot - (time.time() - token.issued_at)) < 5
"""
    run(code, server, tmp_path, prefix=[*UNSHARE, *aged(hours)])
    assert server.token_requests == 1


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_a_suspend_is_noticed_although_the_wall_clock_missed_it(  # F16
    server: TokenServer, tmp_path: Path, *, shared: bool
) -> None:
    code = """
import ctypes, errno, subprocess
apart = sys.argv[1:]
first = manager.token()
assert manager.token() == first
waits = [sys.executable, "-c", "import os; print(os.getpid(), flush=True); input()"]
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
with subprocess.Popen([*apart, *waits], **pipes, text=True) as holder:
    libc = ctypes.CDLL(None, use_errno=True)
    before = clock.since_boot()
    with open(f"/proc/{int(holder.stdout.readline())}/ns/time") as namespace:
        # a process with threads may not move; the renewal's is about to end
        while libc.setns(namespace.fileno(), 0):
            assert ctypes.get_errno() == errno.EUSERS, os.strerror(ctypes.get_errno())
    assert clock.since_boot() - before > 7 * 3600, "the clock did not jump"
    # the check on one clock holds for a second at most
    jumped = time.monotonic()
    while manager.token() == first:
        assert time.monotonic() - jumped < 3
    holder.communicate("\\n")
"""
    run(code, server, tmp_path if shared else None, prefix=UNSHARE, args=["unshare", *aged(8)])
    assert server.token_requests == 2
