"""Unexpected files in place of a token file or a lock, and how the store handles them."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from evertoken import FileStore
from evertoken.core.entry import Entry
from evertoken.core.hold import Hold
from evertoken.core.instant import Instant
from evertoken.core.login import Login
from evertoken.core.policy import RefreshPolicy
from evertoken.core.token import Token
from evertoken.runtime import clock
from evertoken.stores.record import MAX_BYTES, encode
from support.core_values import KEY
from support.entries import token_in
from support.fleet import CountingGrant, eventually, held, in_threads, sibling
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX file types and modes")

SECRET = "a file that is none of ours"
SOON = 5.0
"""Seconds. Nothing here should wait; a fault would wait forever, or for 10 s."""


@pytest.fixture
def grant() -> CountingGrant:
    return CountingGrant()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def victim(tmp_path: Path, folder: Path) -> Path:
    """A target for links elsewhere, on the same file system so that a hard link is possible."""
    del folder
    victim = tmp_path / "victim"
    victim.write_text(SECRET)
    victim.chmod(0o600)
    return victim


def path_of(folder: Path, suffix: str = ".json") -> Path:
    return FileStore(folder).path(KEY).with_suffix(suffix)


def a_token(name: str = "planted", *, age: float = 0.0, lifetime: float = 3600.0) -> Token:
    at = clock.now().wall - age
    return Token(name, at, at + lifetime, generation=int(at))


def content(token: Token | None = None) -> bytes:
    """The content of a file that is valid, but not acceptable at its path."""
    data = encode(Entry(token=token or a_token()), KEY, boot=None)
    assert data is not None
    return data


def planted(folder: Path, data: bytes) -> Path:
    """The token file with `data` in it."""
    path = path_of(folder)
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def renew(store: FileStore, *names: str) -> None:
    """The steps of a renewal with a store: lock, load, save."""
    newest = int(time.time()) + 10_000
    for number, name in enumerate(names):
        with store.lock(KEY, timeout=SOON):
            store.load(KEY)
            store.save(KEY, Entry(token=replace(a_token(name), generation=newest + number)))


# --- things that are not a plain private file -----------------------------------------------------


def symlink(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def dangling(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("nothing"))


def hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def fifo(path: Path, victim: Path) -> None:
    del victim
    os.mkfifo(path, 0o600)


def unix_socket(path: Path, victim: Path) -> None:
    del victim
    here = os.getcwd()
    os.chdir(path.parent)  # the whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
    os.chdir(here)


def folder_there(path: Path, victim: Path) -> None:
    del victim
    path.mkdir(mode=0o700)
    (path / "something").write_text(SECRET)


PLANTS = [symlink, dangling, hard_link, fifo, unix_socket, folder_there]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("suffix", [".json", ".lock", ".save", ".tmp"])
def test_a_link_a_folder_or_a_pipe_in_place_of_the_file_is_not_opened(  # F12, S45
    folder: Path,
    victim: Path,
    *,
    suffix: str,
    plant: Callable[[Path, Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = path_of(folder, suffix)
    victim.write_bytes(content())
    plant(path, victim)
    before = victim.read_bytes()
    store = FileStore(folder)
    started = time.monotonic()
    assert store.load(KEY) is None
    renew(store, "first", "second")
    assert time.monotonic() - started < SOON
    assert victim.read_bytes() == before
    assert not victim.with_name("nothing").exists()
    if plant is folder_there:
        assert (path / "something").read_text() == SECRET
        assert str(path) in caplog.text
    elif suffix in {".json", ".tmp"}:
        assert_private(path_of(folder))
        assert token_in(FileStore(folder)) == "second"
    # a leftover draft is removed silently
    draft_alone = suffix == ".tmp" and plant is not folder_there
    assert len(warned(caplog)) in ({0} if draft_alone else {1, 2})


def assert_private(path: Path) -> None:
    found = path.lstat()
    assert stat.S_ISREG(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_nlink == 1


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o666, 0o644, 0o700 | 0o001])
def test_a_file_accessible_to_others_is_not_trusted_and_replaced(  # F12, S45
    folder: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = planted(folder, content())
    path.chmod(mode)
    store = FileStore(folder)
    assert store.load(KEY) is None
    renew(store, "renewed")
    assert_private(path)
    assert token_in(store) == "renewed"
    assert len(warned(caplog)) == 1
    assert f"{mode:04o}" in caplog.text


@pytest.mark.parametrize("suffix", [".json", ".lock", ".save"])
def test_a_file_of_another_user_is_not_trusted(  # F12, S45
    folder: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(folder, suffix)
    path.write_bytes(content())
    path.chmod(0o600)
    try:
        os.chown(path, 12_345, 12_345)
    except PermissionError:
        pytest.skip("only root can give a file to another user")
    store = FileStore(folder)
    assert store.load(KEY) is None
    renew(store, "renewed")
    assert len(warned(caplog)) == 1
    assert "another user" in caplog.text


def test_a_file_of_more_than_a_mebibyte_is_not_read(  # S45
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # valid in the part that is read
    planted(folder, content().ljust(MAX_BYTES + 1))
    store = FileStore(folder)
    assert store.load(KEY) is None
    renew(store, "renewed")
    assert token_in(FileStore(folder)) == "renewed"
    assert len(warned(caplog)) == 1


def test_a_large_token_fits(folder: Path) -> None:  # S21
    value = "x" * (512 << 10)
    FileStore(folder).save(KEY, Entry(token=a_token(value)))
    assert token_in(FileStore(folder)) == value


# --- what a file may hold ------------------------------------------------------------------------


def truncated(good: bytes) -> bytes:
    return good[: len(good) // 2]


def other_token(good: bytes) -> bytes:
    return good.replace(b"planted", b"altered")


def wrong_types(good: bytes) -> bytes:
    return json.dumps({**json.loads(good), "token": ["planted"]}).encode()


def text_schema(good: bytes) -> bytes:
    return json.dumps({**json.loads(good), "schema": "2"}).encode()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": truncated,
    "other token": other_token,
    "wrong types": wrong_types,
    "schema as text": text_schema,
    "empty": lambda _: b"",
    "array": lambda _: b"[]",
    "null": lambda _: b"null",
    "empty object": lambda _: b"{}",
    "binary": lambda _: b"\x00\xff" * 500,
    "deeply nested": lambda _: b"[" * 100_000,
    "schema alone": lambda _: b'{"schema": 2}',
    "older schema alone": lambda _: b'{"schema": 1}',
    "twice": lambda good: good + good,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_a_miss_and_replaced(  # F10
    folder: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    planted(folder, damage(content()))
    store = FileStore(folder)
    assert [store.load(KEY), store.load(KEY)] == [None, None]
    renew(store, "renewed")
    assert token_in(FileStore(folder)) == "renewed"
    assert len(warned(caplog)) == 1


def test_a_good_file_is_used(folder: Path) -> None:
    planted(folder, content())
    assert token_in(FileStore(folder)) == "planted"


def test_a_clock_that_is_set_back_makes_a_token_of_an_earlier_boot_no_younger(  # F16
    folder: Path,
) -> None:
    planted(folder, content(a_token(age=10.0, lifetime=100.0)))
    entry, now = FileStore(folder).load(KEY), clock.now()
    assert entry is not None
    assert entry.token is not None
    policy = RefreshPolicy()
    assert policy.usable(entry.token, now)
    assert not policy.usable(entry.token, Instant(wall=now.wall, boot=now.boot + 95))


def test_a_file_of_a_newer_version_is_not_changed(  # F11
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = json.dumps({"schema": 3, "whatever": "it holds"}).encode()
    path = planted(folder, newer)
    store = FileStore(folder)
    renew(store, "first", "second")
    assert store.save(KEY, Entry.of_revocation(7)) is None
    assert path.read_bytes() == newer
    assert len(warned(caplog)) == 1
    assert "newer version" in caplog.text


@pytest.mark.parametrize(
    "token",
    [a_token(age=-3600.0), a_token(age=7200.0)],
    ids=["from the future", "expired"],
)
def test_a_token_with_implausible_times_is_not_usable(folder: Path, token: Token) -> None:  # F16
    planted(folder, content(token))
    store = FileStore(folder)
    entry = store.load(KEY)
    assert entry is not None
    assert entry.token is not None
    assert not RefreshPolicy().usable(entry.token, clock.now())
    renew(store, "renewed")
    assert token_in(FileStore(folder)) == "renewed"


def test_a_file_is_read_again_only_after_it_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(folder, content())
    store = FileStore(folder)
    assert token_in(store) == "planted"
    with monkeypatch.context() as patch:
        patch.delattr(os, "open")
        for _ in range(3):
            assert token_in(store) == "planted"
    renew(FileStore(folder), "renewed")
    assert token_in(store) == "renewed"


# --- modes and places ----------------------------------------------------------------------------


@pytest.fixture
def open_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_no_file_is_accessible_to_others_at_any_moment(  # S44
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: dict[str, int] = {}
    real_open, real_mkdir = os.open, os.mkdir

    def watched_open(path: str, flags: int, mode: int = 0o777, **more: int) -> int:
        descriptor = real_open(path, flags, mode, **more)
        if str(path).startswith(str(tmp_path)):
            found = stat.S_IMODE(os.fstat(descriptor).st_mode)
            modes[str(path)] = modes.get(str(path), 0) | found
        return descriptor

    def watched_mkdir(path: str, mode: int = 0o777, **more: int) -> None:
        real_mkdir(path, mode, **more)
        if str(path).startswith(str(tmp_path)):
            modes[str(path)] = stat.S_IMODE(os.stat(path).st_mode)

    monkeypatch.setattr(os, "open", watched_open)
    monkeypatch.setattr(os, "mkdir", watched_mkdir)
    renew(FileStore(tmp_path / "tokens"), "first", "second")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tokens").iterdir()} == {
        0o600
    }
    assert modes.pop(str(tmp_path / "tokens")) == 0o700
    assert len(modes) >= 4
    assert {mode & 0o177 for mode in modes.values()} == {0}


def test_without_a_store_nothing_is_written(  # S43
    grant: CountingGrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    manager = sibling(grant)
    manager.token()
    manager.refresh()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = FileStore("~/tokens")
    renew(store, "first")
    assert (tmp_path / "tokens").is_dir()
    assert store.load(KEY) is not None
    assert repr(store) == f"FileStore({str(tmp_path / 'tokens')!r})"


def test_a_draft_left_by_a_killed_process_is_replaced(folder: Path) -> None:
    draft = path_of(folder, ".tmp")
    foreign = draft.with_name("unrelated.tmp")
    for leftover in (draft, foreign):
        leftover.touch(mode=0o600)
    renew(FileStore(folder), "renewed")
    assert not draft.exists()
    assert foreign.exists()


# --- locks ---------------------------------------------------------------------------------------


def replaced(path: Path) -> None:
    path.unlink()
    path.touch(mode=0o600)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [removed, replaced])
def test_a_lock_file_removed_while_held_costs_at_most_one_more_grant(  # F13
    grant: CountingGrant, folder: Path, harm: Callable[[Path], None]
) -> None:
    managers = [sibling(grant, folder) for _ in range(6)]
    with held(grant):
        waiting = [threading.Thread(target=manager.token) for manager in managers]
        waiting[0].start()
        eventually(lambda: grant.requests == 1)
        harm(folder / f"{grant.key.digest()}.lock")
        for thread in waiting[1:]:
            thread.start()
        eventually(lambda: grant.requests == 2)
    for thread in waiting:
        thread.join(20)
    assert grant.requests == 2
    values = {manager.refresh(timeout=5.0).value for manager in managers[:1]}
    eventually(lambda: {manager.token().value for manager in managers} == values, within=SOON)


@pytest.mark.parametrize("harm", [removed, replaced])
def test_a_lock_whose_file_was_removed_is_no_longer_held(  # F13
    folder: Path, harm: Callable[[Path], None]
) -> None:
    store = FileStore(folder)
    with store.lock(KEY, timeout=0.0):
        assert store.still_held(KEY)
        harm(path_of(folder, ".lock"))
        assert not store.still_held(KEY)
    with store.lock(KEY, timeout=0.0):
        assert store.still_held(KEY)


def test_a_loose_lock_file_still_locks(folder: Path) -> None:  # F12
    path = path_of(folder, ".lock")
    path.touch()
    path.chmod(0o666)
    store = FileStore(folder)
    with store.lock(KEY, timeout=0.0) as first, store.lock(KEY, timeout=0.0) as second:
        assert (first, second) == (Hold.HELD, Hold.BUSY)


def test_a_lock_that_cannot_be_taken_is_absent_and_is_not_waited_for(folder: Path) -> None:  # F9
    path_of(folder, ".lock").mkdir()
    store = FileStore(folder)
    for timeout in (0.0, SOON):
        started = time.monotonic()
        with store.lock(KEY, timeout=timeout) as hold:
            assert hold is Hold.ABSENT
            assert not store.still_held(KEY)
        assert time.monotonic() - started < SOON / 2


def test_locks_of_different_identities_are_independent(folder: Path) -> None:  # S49
    store, other = FileStore(folder), replace(KEY, username="another")
    with store.lock(KEY, timeout=0.0) as first, store.lock(other, timeout=0.0) as second:
        assert (first, second) == (Hold.HELD, Hold.HELD)


def test_a_file_locked_by_another_writer_for_too_long_is_not_written(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, writer = FileStore(folder), FileStore(folder)
    with writer._locked(str(path_of(folder, ".save")), 0.0) as saving:
        assert saving.hold is Hold.HELD
        assert store.save(KEY, Entry(token=a_token())) is None
        assert store.load(KEY) is None
    assert store.save(KEY, Entry(token=a_token())) is not None
    assert len(warned(caplog)) == 1


def test_a_waiter_tries_the_lock_every_20_ms(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = clock.sleep

    def noted(seconds: float) -> None:
        pauses.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(clock, "sleep", noted)
    with FileStore(folder).lock(KEY, timeout=0.0) as mine:
        assert mine is Hold.HELD
        with FileStore(folder).lock(KEY, timeout=0.2) as theirs:
            assert theirs is Hold.BUSY
    assert 0 < max(pauses) <= 0.02
    assert sum(pauses) <= 0.2


# --- writers -------------------------------------------------------------------------------------


def test_a_later_token_is_never_replaced_by_an_earlier_one(folder: Path) -> None:  # F15
    early, late = a_token("early", age=100.0), a_token("late", age=50.0)
    for order in ([early, late], [late, early]):
        for token in order:
            FileStore(folder).save(KEY, Entry(token=token))
        assert token_in(FileStore(folder)) == "late"


def test_writers_at_once_leave_the_latest_token(folder: Path) -> None:  # F15
    numbers = iter(range(64))
    lock = threading.Lock()

    def save() -> None:
        with lock:
            number = next(numbers)
        # not in order of time: 0, 37, 10, 47, 20 …
        age = 1000.0 - (number * 37) % 64
        store, entry = FileStore(folder), Entry(token=a_token(f"aged-{age:g}", age=age))
        # on a busy machine the others may take longer than one save waits
        eventually(lambda: store.save(KEY, entry))

    assert in_threads(64, save) == [None] * 64
    assert token_in(FileStore(folder)) == "aged-937"


def test_a_save_that_adds_nothing_writes_nothing(folder: Path) -> None:
    store, entry = FileStore(folder), Entry(token=a_token())
    store.save(KEY, entry)
    before = path_of(folder).stat()
    assert store.save(KEY, entry) == store.load(KEY)
    assert path_of(folder).stat() == before


# --- logins ---------------------------------------------------------------------------------------


def a_login(refresh_token: str, generation: int) -> Entry:
    return Entry(login=Login(refresh_token, generation))


def test_a_login_sealed_with_another_key_is_not_replaced(folder: Path) -> None:  # S12
    new, old = (FileStore(folder, encryption_key=Fernet.generate_key()) for _ in range(2))
    assert new.save(KEY, a_login("newest", 2)) is not None

    assert old.save(KEY, a_login("spent", 1)) is None
    # a token alone is worth no caution: another is one grant away
    found = new.load(KEY)
    assert found is not None
    assert found.login is not None
    assert found.login.refresh_token == "newest"


def test_a_login_in_a_file_that_is_not_trusted_is_not_replaced(folder: Path) -> None:  # S12, S44
    store = FileStore(folder)
    store.save(KEY, a_login("newest", 2))
    path_of(folder).chmod(0o644)

    assert FileStore(folder).save(KEY, a_login("spent", 1)) is None
    path_of(folder).chmod(0o600)
    assert b"newest" in path_of(folder).read_bytes()
