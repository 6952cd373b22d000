"""The token folder is created private, and is not used while others can change it."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, Token
from evertoken.core.entry import Entry
from evertoken.engine import polling
from evertoken.events import StoreDegraded, StoreRecovered
from evertoken.runtime import clock, waiters
from evertoken.stores.record import encode
from support.fleet import CountingGrant, eventually, sibling, token_in
from support.forks import in_child
from support.logs import warned
from support.modes import mode_of, modes_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evertoken.events import Event

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX modes and owners")

STRANGER = 12_345
"""A foreign user and group id."""

USER = 23_456
"""An ordinary user whose primary group has the same id."""


@pytest.fixture
def grant() -> CountingGrant:
    return CountingGrant()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def masked(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


def a_token(name: str = "planted") -> Token:
    now = clock.now().wall
    return Token(name, now, now + 3600.0)


# --- creation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777], ids="{:04o}".format)
def test_a_store_creates_private_folders_and_files_under_any_umask(  # S44, S56
    grant: CountingGrant, tmp_path: Path, umask: int
) -> None:
    store = FileStore(tmp_path / ".cache" / "my-app" / "tokens")
    with masked(umask):
        manager = sibling(grant, store.directory)
        manager.token()
        token = manager.refresh()
    assert modes_below(tmp_path) == {("folder", "0700"), ("file", "0600")}
    assert len([path for path in tmp_path.rglob("*") if path.is_dir()]) == 3
    assert token_in(store, grant.key) == token


@pytest.fixture
def home() -> Iterator[Path]:
    """A home folder of `USER`, outside pytest's temporary folders, which `USER` cannot enter."""
    if os.geteuid():
        pytest.skip("only root can act as another user")
    path = Path(tempfile.mkdtemp(prefix="evertoken-test-"))
    # loaded now, since the user may not be able to read the modules later
    sibling(CountingGrant(), path / "warm-up").token()
    shutil.rmtree(path / "warm-up")
    os.chown(path, USER, USER)
    yield path
    shutil.rmtree(path)


def as_user(call: Callable[[], object]) -> object:
    """The result of `call` in a child process that runs as `USER`."""

    def change_and_call() -> object:
        os.setgroups([])
        os.setegid(USER)
        os.seteuid(USER)
        return call()

    return in_child(change_and_call)


@pytest.mark.parametrize("umask", [0o000, 0o277, 0o777], ids="{:04o}".format)
def test_an_ordinary_user_shares_tokens_under_any_umask(  # S56
    grant: CountingGrant, home: Path, umask: int
) -> None:
    def tokens() -> object:
        with masked(umask):
            first = sibling(grant, home / "a" / "b").token()
            return [first.value, sibling(grant, home / "a" / "b").token().value, grant.requests]

    first, second, requests = in_list(as_user(tokens))
    assert first == second
    assert requests == 1
    assert modes_below(home) == {("folder", "0700"), ("file", "0600")}


def in_list(result: object) -> list[object]:
    assert isinstance(result, list), result
    return result


def test_a_folder_of_root_that_the_users_group_can_write_is_used(  # S56
    grant: CountingGrant, home: Path
) -> None:
    folder = home / "tokens"
    folder.mkdir()
    os.chown(folder, 0, USER)
    folder.chmod(0o775)

    def kept() -> bool:
        token = sibling(grant, folder).token()
        return token_in(FileStore(folder), grant.key) == token

    assert as_user(kept) is True


def test_a_folder_removed_while_a_caller_waits_for_its_lock_is_created_private(  # S56
    grant: CountingGrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache" / "tokens"

    def remove(_seconds: float) -> None:
        folder.parent.rename(tmp_path / "gone")

    monkeypatch.setattr(clock, "sleep", remove)
    with masked(0), FileStore(folder).lock(grant.key, timeout=0.0) as mine:
        assert mine
        with FileStore(folder).lock(grant.key, timeout=5.0) as theirs:
            assert theirs
    assert modes_below(tmp_path) == {("folder", "0700"), ("file", "0600")}
    assert folder.is_dir()


# --- folders that are not trusted ----------------------------------------------------------------


def given_to_another_user(folder: Path) -> None:
    os.chown(folder, STRANGER, -1)


def open_to_everyone(folder: Path) -> None:
    folder.chmod(0o777)


def open_and_sticky(folder: Path) -> None:
    folder.chmod(0o1777)


def open_for_writing_alone(folder: Path) -> None:
    folder.chmod(0o702)


def open_to_another_group(folder: Path) -> None:
    os.chown(folder, -1, STRANGER)
    folder.chmod(0o770)


def mend(folder: Path) -> None:
    os.chown(folder, os.geteuid(), os.getegid())
    folder.chmod(0o700)


FAULTS = [
    given_to_another_user,
    open_to_everyone,
    open_and_sticky,
    open_for_writing_alone,
    open_to_another_group,
]


@pytest.fixture(params=FAULTS)
def spoil(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """Makes others own a folder, or able to change it."""
    fault: Callable[[Path], None] = request.param

    def spoiled(folder: Path) -> None:
        try:
            fault(folder)
        except PermissionError:
            pytest.skip("only root can give a folder to another user or group")

    return spoiled


def test_an_untrusted_folder_is_neither_read_nor_written_nor_locked(  # S45, S56
    grant: CountingGrant, folder: Path, spoil: Callable[[Path], None]
) -> None:
    store = FileStore(folder)
    store.save(grant.key, Entry.of_token(a_token()))
    for path in [*folder.glob("*.lock"), *folder.glob("*.save")]:
        path.unlink()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    spoil(folder)
    for fresh_or_not in (store, FileStore(folder)):
        assert fresh_or_not.load(grant.key) is None
        fresh_or_not.save(grant.key, Entry.of_token(a_token("another")))
        fresh_or_not.save(grant.key, Entry.of_revocation(1))
        with fresh_or_not.lock(grant.key, timeout=0.0) as held:
            # each process renews alone, as on a disk without locks
            assert held
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_planted_token_is_not_adopted_from_an_untrusted_folder(  # S56
    grant: CountingGrant, folder: Path, spoil: Callable[[Path], None]
) -> None:
    path = FileStore(folder).path(grant.key)
    path.touch(mode=0o600)
    # for example an earlier file of this user that another user moved back
    planted = encode(Entry.of_token(a_token()), grant.key, boot=None)
    assert planted is not None
    path.write_bytes(planted)
    spoil(folder)
    assert sibling(grant, folder).token().value.startswith("token-1")
    mend(folder)
    assert sibling(grant, folder).token().value == "planted"


def test_requests_go_on_from_memory_and_one_warning_names_folder_and_cause(  # S56
    grant: CountingGrant,
    folder: Path,
    spoil: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(folder)
    manager = sibling(grant, folder)
    first = manager.token()
    waiters.run(polling.poll_now(manager.renewer, manager.renewer.snapshot.due_at))
    assert manager.token() == first
    second = manager.refresh()
    assert manager.token() == second
    manager.invalidate(second)
    assert manager.token().value.startswith("token-3")
    [warning] = warned(caplog)
    said = warning.getMessage()
    assert said.startswith(f"token files in {folder} are not used for now: ")
    assert str(STRANGER) in said or f"mode {mode_of(folder):04o}" in said
    assert "choose" in said


def test_a_store_reports_the_trouble_with_its_folder_until_it_is_fixed(  # S56
    grant: CountingGrant, folder: Path, spoil: Callable[[Path], None]
) -> None:
    store, other = FileStore(folder), CountingGrant()
    with store.lock(grant.key, timeout=0.0):
        pass
    store.save(grant.key, Entry.of_token(a_token()))
    assert store.trouble(grant.key) is None
    spoil(folder)
    store.load(grant.key)
    store.save(grant.key, Entry.of_token(a_token()))
    with store.lock(grant.key, timeout=0.0):
        pass
    # it concerns every file in the folder
    assert str(folder) in str(store.trouble(grant.key))
    assert store.trouble(other.key) == store.trouble(grant.key)
    mend(folder)
    # a load must suffice: the next save or lock may be ten hours away
    assert store.load(grant.key) is not None
    assert store.trouble(grant.key) is None
    assert store.trouble(other.key) is None


def test_events_and_log_report_an_untrusted_folder_and_its_recovery_each_time(  # S56
    grant: CountingGrant, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="evertoken")
    events: list[Event] = []

    def told(*expected: type[Event]) -> bool:
        changes = (StoreDegraded, StoreRecovered)
        return [type(event) for event in events if isinstance(event, changes)] == [*expected]

    manager = sibling(grant, folder, on_event=events.append)
    manager.token()
    for before in ((), (StoreDegraded, StoreRecovered)):
        open_to_everyone(folder)
        manager.refresh()
        eventually(partial(told, *before, StoreDegraded))
        mend(folder)
        waiters.run(polling.poll_now(manager.renewer, manager.renewer.snapshot.due_at))
        eventually(partial(told, *before, StoreDegraded, StoreRecovered))
        # wait for the background save of what the folder missed, before the next round
        eventually(lambda: token_in(FileStore(folder), grant.key) == manager.token())
    degraded = next(event for event in events if isinstance(event, StoreDegraded))
    assert f"`chmod go-w {folder}`" in degraded.reason
    assert len(warned(caplog)) == 2
    assert caplog.text.count("are used again") == 2


def test_after_a_folder_is_fixed_the_next_renewal_is_shared_again(  # S56
    grant: CountingGrant, folder: Path
) -> None:
    open_to_everyone(folder)
    manager = sibling(grant, folder)
    manager.token()
    mend(folder)
    assert FileStore(folder).load(grant.key) is None
    renewed = manager.refresh()
    assert token_in(FileStore(folder), grant.key) == renewed


def test_a_folder_that_becomes_writable_to_others_while_a_caller_waits_is_not_used(  # S56
    grant: CountingGrant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = FileStore(folder)
    pauses: list[float] = []

    def spoil(seconds: float) -> None:
        pauses.append(seconds)
        folder.chmod(0o777)

    monkeypatch.setattr(clock, "sleep", spoil)
    with FileStore(folder).lock(grant.key, timeout=0.0) as mine:
        assert mine
        with waiting.lock(grant.key, timeout=5.0) as theirs:
            assert theirs
    assert len(pauses) == 1
    assert "mode 0777" in str(waiting.trouble(grant.key))


def test_a_folder_that_another_user_puts_in_place_of_ours_is_not_used(  # S56
    grant: CountingGrant, folder: Path
) -> None:
    manager = sibling(grant, folder)
    token = manager.token()
    folder.rename(folder.with_name("ours"))
    folder.mkdir(mode=0o777)
    try:
        given_to_another_user(folder)
    except PermissionError:
        pytest.skip("only root can give a folder to another user")
    waiters.run(polling.poll_now(manager.renewer, manager.renewer.snapshot.due_at))
    assert manager.token() == token
    assert manager.refresh() != token
    assert list(folder.iterdir()) == []


def test_a_folder_that_the_users_own_group_can_write_is_used(  # S56
    grant: CountingGrant, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.chown(folder, -1, os.getegid())
    folder.chmod(0o775)
    token = sibling(grant, folder).token()
    assert token_in(FileStore(folder), grant.key) == token
    assert warned(caplog) == []


def test_a_link_to_an_own_folder_is_followed(grant: CountingGrant, folder: Path) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    token = sibling(grant, link).token()
    assert token_in(FileStore(folder), grant.key) == token


def test_a_load_of_an_unchanged_file_costs_two_stat_calls(
    grant: CountingGrant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(folder)
    store.save(grant.key, Entry.of_token(a_token()))
    assert store.load(grant.key) is not None
    calls: list[object] = []
    for name in ("stat", "lstat", "fstat", "open", "scandir", "listdir"):
        monkeypatch.setattr(os, name, noting(getattr(os, name), calls))
    assert store.load(grant.key) is not None
    monkeypatch.undo()
    assert calls == [str(folder), str(store.path(grant.key))]


def noting(call: Callable[..., object], calls: list[object]) -> Callable[..., object]:
    def noted(*args: object, **kwargs: object) -> object:
        calls.append(args[0])
        return call(*args, **kwargs)

    return noted
