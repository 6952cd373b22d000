"""A forked child gets a token within its timeout, and does not disturb its parent."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, GrantRefused, GrantUnavailable, MemoryStore, TokenManager, squadrun
from evertoken.engine import driver
from evertoken.runtime import process
from evertoken.runtime.lazy import lazy
from evertoken.testing import TokenServer
from support import fleet_jobs as jobs
from support.fleet import CountingGrant, eventually, held, sibling
from support.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    # Python 3.12 and later warn about forks with threads, which these tests need
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@contextmanager
def in_another_thread(lock: AbstractContextManager[object]) -> Iterator[None]:
    """Hold a reentrant lock in another thread."""
    taken, give_back = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            give_back.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(20)
    yield
    give_back.set()
    thread.join(20)


@pytest.fixture
def grant() -> CountingGrant:
    return CountingGrant()


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_a_child_forked_during_the_parents_grant_has_a_token(  # F2
    grant: CountingGrant, tmp_path: Path, *, shared: bool
) -> None:
    manager = sibling(grant, tmp_path if shared else None, timeout=4.0)
    waiting = threading.Thread(target=manager.token)

    def ask() -> tuple[str, float]:
        grant.gate.set()  # the child's copy
        started = time.monotonic()
        return manager.token().value, time.monotonic() - started

    with held(grant):
        waiting.start()
        eventually(lambda: grant.requests == 1)
        answer = in_child(ask)
        assert isinstance(answer, list), answer
        value, took = answer
        assert value.startswith("token-2-")
        # the parent keeps the file's lock, so the child goes on without it
        assert took < 4.0
        if not shared:
            assert took < 1.0
        assert manager.status().renewing
    waiting.join(20)
    # the parent may have adopted the child's token from the file, which is newer
    assert manager.token(timeout=0.0).value.startswith(("token-1-", "token-2-")[: 1 + shared])


def test_a_fork_waits_for_a_running_import(  # F2
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = ModuleType("gate_of_a_slow_room")
    started, detach = threading.Event(), threading.Event()
    vars(gate).update(started=started, detach=detach)
    monkeypatch.setitem(sys.modules, gate.__name__, gate)
    body = f"import {gate.__name__} as g; g.started.set(); g.detach.wait(20); FURNITURE = 'chair'"
    (tmp_path / "slow_room.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    room = lazy("slow_room")

    entering = threading.Thread(target=lambda: room.FURNITURE)
    entering.start()
    assert started.wait(20)
    # The child must not have this thread. If the thread started earlier, it would wait forever.
    threading.Timer(0.2, detach.set).start()
    assert in_child(lambda: room.FURNITURE) == "chair"
    entering.join(20)


@pytest.mark.parametrize(
    ("first_use", "module"),
    [
        ("evertoken.TokenManagers", "evertoken.managers"),
        ("RedisStore('redis://127.0.0.1:9')", "evertoken.stores.redis_client"),
        ("FileStore('.', encryption_key=KEY)", "cryptography.fernet"),
    ],
)
def test_a_fork_waits_for_the_imports_of_a_first_use(first_use: str, module: str) -> None:  # F2
    """In a new interpreter, which has loaded nothing yet."""
    program = f"""
        import importlib.abc, os, sys, threading, time
        import evertoken
        from evertoken.stores.file import FileStore
        from evertoken.stores.redis import RedisStore
        KEY = "0" * 43 + "="
        begun = threading.Event()
        class Slow(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    begun.set()
                    time.sleep(0.3)
        sys.meta_path.insert(0, Slow())
        threading.Thread(target=lambda: {first_use}).start()
        assert begun.wait(20)
        child = os.fork()
        if child == 0:
            {first_use}
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    # a third-party module loaded during a fork may complain that it has nothing to release
    assert done.stdout == "7\n", done.stderr


def test_a_child_uses_the_parents_token(grant: CountingGrant) -> None:
    manager = sibling(grant)
    value = manager.token().value
    assert in_child(lambda: [manager.token().value, grant.requests]) == [value, 1]


def test_no_lock_of_the_parent_is_held_in_the_child(grant: CountingGrant, tmp_path: Path) -> None:
    memory = MemoryStore()
    manager = TokenManager(grant, store=FileStore(tmp_path), memory=memory)
    first = manager.token()
    # as if other threads of the parent held all locks at the fork
    with (
        memory.lock(grant.key, timeout=1.0),
        memory._guard,
        in_another_thread(process.lock()),
    ):
        assert in_child(lambda: manager.token().value) == first.value

        def renew() -> str:
            return manager.refresh().value

        assert str(in_child(renew)).startswith("token-2-")


def test_a_child_forked_during_a_slow_hash_remembers_a_refusal(  # S48, F2
    grant: CountingGrant, tmp_path: Path
) -> None:
    manager = sibling(grant, tmp_path)
    grant.failure = GrantRefused("no", status=400, error="invalid_grant")
    store = FileStore(tmp_path)

    def refused() -> bool:
        with pytest.raises(GrantRefused):
            manager.token()
        eventually(lambda: store.load(grant.key) is not None, within=5.0)
        return True

    with driver._slow_hash.turn:
        assert in_child(refused) is True


def test_a_child_has_its_own_jitter_fraction() -> None:
    children = [float(str(in_child(process.jitter_fraction))) for _ in range(3)]
    assert len({process.jitter_fraction(), *children}) == 4


def test_keep_fresh_goes_on_in_a_child(grant: CountingGrant) -> None:
    grant.lifetime = 1.0
    with sibling(grant, keep_fresh=True) as manager:
        manager.token()

        def watch() -> int:
            assert manager.token().value
            # the child's own counter: the requests of its scheduler, without any call
            before = grant.requests
            eventually(lambda: grant.requests >= before + 2, within=8.0)
            return sum(thread.name == "evertoken-scheduler" for thread in threading.enumerate())

        assert in_child(watch) == 1


def test_the_parents_refresher_survives_a_fork(tmp_path: Path) -> None:
    grant = CountingGrant(lifetime=1.0)
    with sibling(grant, tmp_path, keep_fresh=True) as manager:
        manager.token()
        in_child(lambda: manager.token().value)
        before = grant.requests
        eventually(lambda: grant.requests > before)


@pytest.mark.slow
def test_every_child_of_many_forks_has_its_token_within_a_second(
    grant: CountingGrant, tmp_path: Path, *, soak: bool
) -> None:
    manager = sibling(grant, tmp_path)
    manager.token()
    stop = threading.Event()

    def renew() -> None:
        while not stop.is_set():
            manager.refresh()

    def ask() -> float:
        started = time.monotonic()
        assert manager.token().value
        return time.monotonic() - started

    threads = [threading.Thread(target=renew) for _ in range(2)]
    for thread in threads:
        thread.start()
    slowest = max(float(str(in_child(ask))) for _ in range(1000 if soak else 50))
    stop.set()
    for thread in threads:
        thread.join(20)
    print(f"slowest child: {slowest:.3f} s")  # noqa: T201  a number to report
    assert slowest < 1.0


def test_a_child_may_invalidate_and_renew_the_token_that_it_inherited(
    grant: CountingGrant, tmp_path: Path
) -> None:
    manager = sibling(grant, tmp_path)
    first = manager.token()

    def replace() -> str:
        manager.invalidate(first)
        return manager.token().value

    renewed = in_child(replace)
    assert renewed != first.value
    eventually(lambda: manager.token().value == renewed, within=5.0)
    assert grant.requests == 1


# --- the ways in which Python starts processes ---------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TokenServer]:
    with TokenServer(latency=0.05) as server:
        monkeypatch.setenv("SQUADRUN_BASE_URL", server.base_url)
        monkeypatch.setenv("SQUADRUN_CLIENT_ID", server.client_id)
        monkeypatch.setenv("SQUADRUN_CLIENT_SECRET", server.client_secret)
        monkeypatch.setenv("SQUADRUN_USERNAME", server.username)
        monkeypatch.setenv("SQUADRUN_PASSWORD", server.password)
        monkeypatch.setenv("SQUADRUN_TOKEN_DIR", str(tmp_path))
        yield server


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def context(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[multiprocessing.context.BaseContext]:
    # a child would import pytest's command again, which takes a second
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    yield multiprocessing.get_context(request.param)
    if request.param == "forkserver":
        # it has this test's environment, which the next test must not use
        from multiprocessing import forkserver  # noqa: PLC0415  absent where there is no fork

        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # there is no public way


def test_a_manager_can_be_sent_to_every_kind_of_process_during_its_grant(  # F2, F7
    server: TokenServer, context: multiprocessing.context.SpawnContext
) -> None:
    manager = squadrun.manager(timeout=20.0)
    server.hang()
    waiting = threading.Thread(target=manager.token)
    waiting.start()
    server.wait_for_held()
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = [pool.submit(jobs.ask, manager) for _ in range(4)]
        threading.Timer(0.2, server.recover).start()
        values = {future.result(timeout=60) for future in futures}
    waiting.join(20)
    # one identity and one folder: all processes have the same token
    assert values == {manager.token().value}
    assert server.token_requests == 1


def test_a_process_pool_may_use_an_auth_object(
    server: TokenServer, context: multiprocessing.context.SpawnContext
) -> None:
    auth = squadrun.auth()
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        statuses = set(pool.map(partial(jobs.call, auth), [server.api_url] * 8, timeout=60))
    assert statuses == {200}
    assert server.token_requests == 1


def test_an_error_travels_back_from_a_process_pool(
    server: TokenServer, context: multiprocessing.context.SpawnContext
) -> None:
    server.outage(retry_after=3600)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        future = pool.submit(jobs.ask, squadrun.manager())
        with pytest.raises(GrantUnavailable) as caught:
            future.result(timeout=60)
    assert caught.value.status == 503
    assert caught.value.retry_after == 3600
