"""What may stand where a token file or a lock belongs, and what becomes of it."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, Token, clock
from evertoken.core.policy import holding
from evertoken.stores.file_lock import Hold
from evertoken.stores.record import MAX_BYTES, Record, encode
from support.fleet import CountingGrant, eventually, held, in_threads, sibling
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evertoken import TokenManager

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX file types and modes")

SECRET = "a file that is none of ours"
SOON = 5.0
"""Seconds: nothing here is to wait, but where it did it would wait for ever, or for 10 s."""


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
    """A file elsewhere that a link may lead to; on the same file system, for a hard link."""
    del folder
    victim = tmp_path / "victim"
    victim.write_text(SECRET)
    victim.chmod(0o600)
    return victim


def path_of(grant: CountingGrant, folder: Path, suffix: str = ".json") -> Path:
    return FileStore(folder).path(grant.key).with_suffix(suffix)


def a_token(name: str = "planted", *, age: float = 0.0, lifetime: float = 3600.0) -> Token:
    now = clock.now()
    return Token(name, now.wall - age, now.wall - age + lifetime)


def content(grant: CountingGrant, token: Token | None = None) -> bytes:
    """A file that would be used if it were not for how it lies there."""
    return encode(Record(token or a_token(), 1), grant.key, boot=None)


# --- things that are no plain private file -------------------------------------------------------


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
@pytest.mark.parametrize("suffix", [".json", ".lock", ".save"])
def test_what_is_no_plain_file_is_not_followed_nor_waited_on(  # F12, S45
    grant: CountingGrant,
    folder: Path,
    victim: Path,
    *,
    suffix: str,
    plant: Callable[[Path, Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = path_of(grant, folder, suffix)
    victim.write_bytes(content(grant))
    plant(path, victim)
    before = victim.read_bytes()
    manager = sibling(grant, folder)
    started = time.monotonic()
    first = manager.token()
    second = manager.refresh()
    assert time.monotonic() - started < SOON
    assert first.value.startswith("token-1")
    assert second.value.startswith("token-2")
    assert victim.read_bytes() == before
    assert not victim.with_name("nothing").exists()
    assert 1 <= len(warned(caplog)) <= 2
    assert str(path) in caplog.text
    if plant is folder_there:
        assert (path / "something").read_text() == SECRET
    elif suffix == ".json":
        assert_private(path)
        assert FileStore(folder).load(grant.key) == second


def assert_private(path: Path) -> None:
    found = path.lstat()
    assert stat.S_ISREG(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_nlink == 1


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o666, 0o644, 0o700 | 0o001])
def test_a_file_that_is_open_to_others_is_not_trusted_and_replaced(  # F12, S45
    grant: CountingGrant, folder: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(grant, folder)
    path.write_bytes(content(grant))
    path.chmod(mode)
    manager = sibling(grant, folder)
    assert manager.token().value.startswith("token-1")
    assert_private(path)
    assert len(warned(caplog)) == 1
    assert f"{mode:04o}" in caplog.text


@pytest.mark.parametrize("suffix", [".json", ".lock", ".save"])
def test_a_file_of_another_user_is_not_trusted(  # F12, S45
    grant: CountingGrant, folder: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(grant, folder, suffix)
    path.write_bytes(content(grant))
    path.chmod(0o600)
    try:
        os.chown(path, 12_345, 12_345)
    except PermissionError:
        pytest.skip("only root can give a file to another user")
    manager = sibling(grant, folder)
    assert manager.token().value.startswith("token-1")
    assert len(warned(caplog)) == 1
    assert "another user" in caplog.text


def test_a_file_of_more_than_a_mebibyte_is_not_read(  # S45
    grant: CountingGrant, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(grant, folder)
    path.touch(mode=0o600)
    # whole and good in what is read of it
    path.write_bytes(content(grant).ljust(MAX_BYTES + 1))
    manager = sibling(grant, folder)
    token = manager.token()
    assert token.value.startswith("token-1")
    assert FileStore(folder).load(grant.key) == token
    assert len(warned(caplog)) == 1


def test_a_large_token_fits(grant: CountingGrant, folder: Path) -> None:  # S21
    token = a_token("x" * (512 << 10))
    FileStore(folder).save(grant.key, token)
    assert FileStore(folder).load(grant.key) == token


# --- what a file may hold ------------------------------------------------------------------------


def truncated(good: bytes) -> bytes:
    return good[: len(good) // 2]


def other_token(good: bytes) -> bytes:
    return good.replace(b"planted", b"altered")


def wrong_types(good: bytes) -> bytes:
    return json.dumps({**json.loads(good), "token": ["planted"]}).encode()


def text_schema(good: bytes) -> bytes:
    return json.dumps({**json.loads(good), "schema": "1"}).encode()


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
    "schema alone": lambda _: b'{"schema": 1}',
    "twice": lambda good: good + good,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_a_miss_and_replaced(  # F10
    grant: CountingGrant,
    folder: Path,
    damage: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = path_of(grant, folder)
    path.touch(mode=0o600)
    path.write_bytes(damage(content(grant)))
    assert FileStore(folder).load(grant.key) is None
    caplog.clear()
    manager = sibling(grant, folder)
    token = manager.token()
    assert token.value.startswith("token-1")
    assert FileStore(folder).load(grant.key) == token
    assert len(warned(caplog)) == 1


def test_a_good_file_is_used(grant: CountingGrant, folder: Path) -> None:
    path = path_of(grant, folder)
    path.touch(mode=0o600)
    path.write_bytes(content(grant))
    assert sibling(grant, folder).token().value == "planted"
    assert grant.requests == 0


def test_a_file_of_a_newer_version_is_left_alone(  # F11
    grant: CountingGrant, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(grant, folder)
    path.touch(mode=0o600)
    newer = json.dumps({"schema": 2, "whatever": "it holds"}).encode()
    path.write_bytes(newer)
    manager = sibling(grant, folder)
    first = manager.token()
    manager.refresh()
    manager.invalidate(first)
    manager.revoke()
    manager.token()
    assert path.read_bytes() == newer
    assert len(warned(caplog)) == 1
    assert "newer version" in caplog.text


@pytest.mark.parametrize(
    "token",
    [a_token(age=-3600.0), a_token(lifetime=400 * 24 * 3600.0), a_token(age=7200.0)],
    ids=["from the future", "for longer than a year", "expired"],
)
def test_a_token_that_cannot_be_true_is_not_used(  # F16
    grant: CountingGrant, folder: Path, token: Token
) -> None:
    path = path_of(grant, folder)
    path.touch(mode=0o600)
    path.write_bytes(content(grant, token))
    manager = sibling(grant, folder)
    had = manager.token()
    assert had.value.startswith("token-1")
    assert FileStore(folder).load(grant.key) == had


# --- modes and places ----------------------------------------------------------------------------


@pytest.fixture
def open_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_no_file_is_open_to_others_at_any_instant(  # S44
    grant: CountingGrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    manager = sibling(grant, tmp_path / "tokens")
    manager.token()
    manager.refresh()
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


def test_a_folder_in_the_home_is_found(
    grant: CountingGrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = FileStore("~/tokens")
    store.save(grant.key, a_token())
    assert (tmp_path / "tokens").is_dir()
    assert store.load(grant.key) is not None
    assert repr(store) == f"FileStore({str(tmp_path / 'tokens')!r})"


def test_a_draft_left_by_a_killed_process_is_swept(grant: CountingGrant, folder: Path) -> None:
    path = path_of(grant, folder)
    draft = path.with_name(f"{path.stem}.4711-deadbeef.tmp")
    foreign = path.with_name("unrelated.tmp")
    for leftover in (draft, foreign):
        leftover.touch(mode=0o600)
    sibling(grant, folder).token()
    assert not draft.exists()
    assert foreign.exists()


# --- locks ---------------------------------------------------------------------------------------


def replaced(path: Path) -> None:
    path.unlink()
    path.touch(mode=0o600)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [removed, replaced])
def test_a_lock_file_that_goes_while_it_is_held_costs_one_more_grant_at_most(  # F13
    grant: CountingGrant, folder: Path, harm: Callable[[Path], None]
) -> None:
    managers = [sibling(grant, folder) for _ in range(6)]
    with held(grant):
        waiting = [threading.Thread(target=manager.token) for manager in managers]
        waiting[0].start()
        eventually(lambda: grant.requests == 1)
        harm(path_of(grant, folder, ".lock"))
        for thread in waiting[1:]:
            thread.start()
        eventually(lambda: grant.requests == 2)
    for thread in waiting:
        thread.join(20)
    assert grant.requests == 2
    values = {manager.refresh(timeout=5.0).value for manager in managers[:1]}
    eventually(lambda: {manager.token().value for manager in managers} == values, within=SOON)


def test_a_loose_lock_file_still_locks(grant: CountingGrant, folder: Path) -> None:  # F12
    path = path_of(grant, folder, ".lock")
    path.touch()
    path.chmod(0o666)
    store = FileStore(folder)
    with store.lock(grant.key, timeout=0.0) as first, store.lock(grant.key, timeout=0.0) as second:
        assert (first, second) == (True, False)


def test_where_no_lock_is_to_be_had_a_due_token_is_renewed_at_once(
    grant: CountingGrant, folder: Path
) -> None:
    path_of(grant, folder, ".lock").mkdir()
    manager = sibling(grant, folder)
    due = holding(a_token(age=3500.0), clock.now(), manager.policy, draw=0.0)
    manager.renewer.snapshot = due
    assert manager.token(timeout=0.0) == due.token
    eventually(lambda: manager.status().counters.grants == 1)


def test_locks_of_different_identities_do_not_meet(folder: Path) -> None:  # S49
    one, other = CountingGrant(), CountingGrant()
    store = FileStore(folder)
    with store.lock(one.key, timeout=0.0) as first, store.lock(other.key, timeout=0.0) as second:
        assert (first, second) == (True, True)


def test_a_file_that_is_being_written_for_too_long_is_left_to_its_writer(
    grant: CountingGrant, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = sibling(grant, folder)
    store = FileStore(folder)
    with store._locked(path_of(grant, folder, ".save"), 0.0) as saving:
        assert saving is Hold.HELD
        token = manager.token()
        assert store.load(grant.key) is None
    assert manager.token() == token
    assert len(warned(caplog)) == 1


def test_who_waits_for_a_lock_looks_every_20_ms(
    grant: CountingGrant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = clock.sleep

    def noted(seconds: float) -> None:
        pauses.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(clock, "sleep", noted)
    with FileStore(folder).lock(grant.key, timeout=0.0) as mine:
        assert mine
        with FileStore(folder).lock(grant.key, timeout=0.2) as theirs:
            assert not theirs
    assert 0 < max(pauses) <= 0.02
    assert sum(pauses) <= 0.2


# --- writers -------------------------------------------------------------------------------------


def test_a_later_token_is_never_replaced_by_an_earlier_one(  # F15
    grant: CountingGrant, folder: Path
) -> None:
    early, late = a_token("early", age=100.0), a_token("late", age=50.0)
    for order in ([early, late], [late, early]):
        for token in order:
            FileStore(folder).save(grant.key, token)
        assert FileStore(folder).load(grant.key) == late


def test_writers_at_once_leave_the_latest_token(  # F15
    grant: CountingGrant, folder: Path
) -> None:
    numbers = iter(range(64))
    lock = threading.Lock()

    def save() -> None:
        with lock:
            number = next(numbers)
        # in no order of time: 0, 37, 10, 47, 20 …
        age = 1000.0 - (number * 37) % 64
        FileStore(folder).save(grant.key, a_token(f"aged {age:g}", age=age))

    assert in_threads(64, save) == [None] * 64
    entry = FileStore(folder).load(grant.key)
    assert isinstance(entry, Token)
    assert entry.value == "aged 937"
    data = json.loads(path_of(grant, folder).read_bytes())
    assert 1 <= data["generation"] <= 64


def test_each_save_counts(grant: CountingGrant, folder: Path) -> None:
    manager: TokenManager = sibling(grant, folder)
    for _ in range(3):
        manager.refresh()
    assert json.loads(path_of(grant, folder).read_bytes())["generation"] == 3
