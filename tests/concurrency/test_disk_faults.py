"""Whatever the disk does, a file store raises nothing and logs the failure once."""

from __future__ import annotations

import errno
import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, RefreshPolicy
from evertoken.core.entry import Entry
from evertoken.core.hold import Hold
from evertoken.engine import polling
from evertoken.runtime import clock, waiters
from support.core_values import KEY, issued
from support.entries import token_in
from support.fleet import CountingGrant, eventually, sibling
from support.fleet_faults import CALLS, ERRNOS, Fault, descriptors, injected
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken import TokenManager

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="descriptors are looked at through /proc"
)


def entry(number: int) -> Entry:
    at = clock.now()
    token = issued(at, value=f"token-{number}", generation=int(at.wall) + number)
    return Entry.of_token(token)


class Scene:
    """A folder with the token of another process, and a store that replaces that token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.path = FileStore(folder).path(KEY)
        self.number = 1
        self.old = "token-1"
        FileStore(folder).save(KEY, entry(1))
        self.store = FileStore(folder)
        # like a first start, except for the draft of a killed process
        for path in [*folder.glob("*.lock"), *folder.glob("*.save")]:
            path.unlink()
        self.path.with_suffix(".tmp").touch(mode=0o600)

    def save(self) -> str:
        """Everything that a renewal does with files; returns the value of the new token."""
        self.number += 1
        with self.store.lock(KEY, timeout=0.2):
            self.store.load(KEY)
            saved = self.store.save(KEY, entry(self.number))
        assert saved in {None, self.store.load(KEY)} or self.failing()
        return f"token-{self.number}"

    def failing(self) -> bool:
        """Whether the store reports that it cannot read or write."""
        return self.store.trouble(KEY) is not None

    def shared(self) -> str | None:
        """The token that a new process would load."""
        return token_in(FileStore(self.folder))

    def drafts(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.suffix == ".tmp"]


def calls_of(call: str, folder: Path) -> int:
    """How often a complete run makes this call."""
    fault = Fault(call, folder, first=1 << 30)
    scene = Scene(folder)
    with injected(fault):
        scene.save()
    return fault.seen


def faults(call: str, count: int, folder: Path) -> Iterator[Fault]:
    for number in ERRNOS:
        if call == "flock" and number == errno.EACCES:
            continue  # some file systems raise this if another process holds the lock
        for first in range(count):
            for sticky in (False, True):
                name = f"{errno.errorcode[number]}-{first}-{sticky}"
                yield Fault(call, folder / name, number, first, sticky)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_any_file_call_may_fail_with_any_error_once_or_always(  # F8
    call: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count = calls_of(call, tmp_path / "counted")
    assert count > 0, "this call is not made: take it off the list"
    for fault in faults(call, count, tmp_path):
        scene = Scene(fault.folder)
        caplog.clear()
        with injected(fault):
            renewed = scene.save()
        assert fault.failed > 0, fault
        warnings = warned(caplog)
        assert len(warnings) <= 1, (fault, warnings)
        assert scene.shared() in (scene.old, renewed), fault
        assert descriptors(fault.folder) == [], fault
        # the draft of the dead process may stay, but not this store's own
        assert set(scene.drafts()) <= {scene.path.with_suffix(".tmp").name}, fault
        healed = scene.save()
        assert scene.shared() == healed, fault
        assert scene.drafts() == [], fault


def test_an_inaccessible_folder_is_logged_once_on_every_python(  # F8
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pathlib of Python 3.14, which takes such a folder for a file
    monkeypatch.setattr(pathlib.Path, "is_dir", lambda path, **_: os.path.isdir(path))
    for first in range(calls_of("stat", tmp_path / "counted")):
        scene = Scene(tmp_path / f"{first}")
        caplog.clear()
        with injected(Fault("stat", scene.folder, errno.ENOSPC, first, sticky=True)):
            scene.save()
        assert len(warned(caplog)) <= 1


@pytest.mark.parametrize("taken", [0, 1, 100])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_a_short_write_is_completed_or_leaves_the_old_file(  # F8
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, taken: int, sticky: bool
) -> None:
    scene = Scene(tmp_path / "folder")

    def short(real: object, args: tuple[object, ...]) -> int:
        descriptor, data = args
        assert isinstance(descriptor, int)
        assert isinstance(data, memoryview)
        assert callable(real)
        return int(real(descriptor, data[:taken])) if taken else 0

    with injected(Fault("write", scene.folder, sticky=sticky), short) as fault:
        renewed = scene.save()
    assert fault.failed > 0
    assert scene.shared() == (renewed if taken else scene.old)
    assert len(warned(caplog)) == (0 if taken else 1)
    assert scene.drafts() == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_without_locks_each_process_goes_on_alone(  # F9
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    scene = Scene(tmp_path / "folder")
    with injected(Fault("flock", scene.folder, number, sticky=True)):
        renewed = scene.save()
    assert len(warned(caplog)) == 1
    assert scene.shared() == renewed
    assert descriptors(scene.folder) == []


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None

import logging, time, warnings
warnings.simplefilter("ignore")  # filelock's, of a lock that is not used here
from evertoken import FileStore, Token, TokenKey
from evertoken.core.entry import Entry
from evertoken.runtime import reports

logging.basicConfig()
key = TokenKey("https://api.test/token/", "id", "user")
store = FileStore(sys.argv[1])
now = time.time()
for number in range(2):
    with store.lock(key, timeout=1) as hold:
        entry = Entry.of_token(Token("token", now, now + 60, generation=int(now) + number))
        saved = store.save(key, entry)
reports.catch_up(10)
print(hold.name, saved == FileStore(sys.argv[1]).load(key) == entry)
"""


def test_without_file_locks_each_process_renews_alone(tmp_path: Path) -> None:  # F9
    # an import of fcntl fails, as in a Python built for the web
    done = subprocess.run(  # noqa: S603  a script of ours
        [sys.executable, "-c", WITHOUT_FCNTL, str(tmp_path / "folder")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "ABSENT True\n", done.stderr
    assert done.stderr.count("No locks available") == 1


def test_without_locks_no_process_touches_the_draft_of_another(tmp_path: Path) -> None:  # F9
    scene = Scene(tmp_path / "folder")
    draft = scene.path.with_suffix(".tmp")
    draft.write_text("being written")
    with injected(Fault("flock", scene.folder, errno.ENOLCK, sticky=True)):
        renewed = scene.save()
    assert scene.shared() == renewed
    assert draft.read_text() == "being written"
    scene.save()
    assert not draft.exists()


def test_without_locks_the_first_save_removes_drafts_of_killed_processes(  # F1, F9
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path / "folder")
    names = ["abc123.77-0a1b2c3d.tmp", "abc123.78-0a1b2c3d.tmp", "abc123.tmp", "notes.tmp"]
    for name in names:
        (scene.folder / name).touch()
    written = names.pop(1)
    two_hours_ago = os.stat(scene.folder).st_mtime - 7200
    for name in names:
        os.utime(scene.folder / name, (two_hours_ago, two_hours_ago))
    listed: list[object] = []
    really_scan = os.scandir

    def noting(folder: str) -> Iterator[os.DirEntry[str]]:
        listed.append(folder)
        return really_scan(folder)

    monkeypatch.setattr(os, "scandir", noting)
    with injected(Fault("flock", scene.folder, errno.ENOLCK, sticky=True)):
        scene.save()
        scene.save()
    assert listed == [str(scene.folder)]
    monkeypatch.undo()
    fixed = scene.path.with_suffix(".tmp").name
    assert sorted(scene.drafts()) == sorted([fixed, written, "abc123.tmp", "notes.tmp"])


def test_a_draft_written_by_another_process_does_not_replace_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # F13
    # both hold the lock, since its file was removed in between, so their drafts have the same name
    scene = Scene(tmp_path / "folder")
    draft = scene.path.with_suffix(".tmp")

    def replaced(real: object, args: tuple[object, ...]) -> object:
        assert callable(real)
        draft.unlink()
        draft.write_text("half a rec")
        return real(*args)

    with injected(Fault("fsync", scene.folder), replaced) as fault:
        scene.save()
    assert fault.failed == 1
    assert scene.shared() == scene.old
    assert "another process writes the same draft" in caplog.text
    assert scene.shared() != scene.save() == scene.shared()


@pytest.mark.parametrize("siblings", [5, 500])
def test_a_save_does_not_list_the_folder(tmp_path: Path, siblings: int) -> None:
    scene = Scene(tmp_path / "folder")
    for number in range(siblings):
        (scene.folder / f"{number:032x}.json").touch(mode=0o600)
    listed: list[object] = []

    def refuse(*args: object) -> None:
        listed.append(args)
        raise OSError(errno.EIO, "listed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        patch.setattr(os, "listdir", refuse)
        scene.save()
    assert listed == []
    assert scene.drafts() == []


def test_a_lasting_fault_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path / "folder")
    with injected(Fault("open", scene.folder, errno.ENOSPC, sticky=True)):
        for _ in range(5):
            scene.save()
    assert len(warned(caplog)) == 1
    assert "No space left" in caplog.text
    assert str(scene.folder) in caplog.text


def test_trouble_names_the_first_cause_and_no_draft(tmp_path: Path) -> None:  # F35
    scene = Scene(tmp_path / "folder")

    def refuse_to_create(real: Callable[..., object], args: tuple[object, ...]) -> object:
        path, flags = args[:2]
        if not (isinstance(flags, int) and flags & os.O_CREAT):
            return real(*args)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with injected(Fault("open", scene.folder, sticky=True), refuse_to_create):
        scene.save()
    assert f"'{scene.path.with_suffix('.lock')}'" in str(scene.store.trouble(KEY))


def test_a_second_cause_is_logged_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path / "folder")
    for number in (errno.ENOSPC, errno.EROFS):
        with injected(Fault("open", scene.folder, number, sticky=True)):
            scene.save()
    assert len(warned(caplog)) == 2


def test_a_folder_that_cannot_be_created_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FileStore(tmp_path / "file" / "folder")
    for number in range(3):
        with store.lock(KEY, timeout=0.0) as hold:
            assert hold is Hold.ABSENT
            assert store.load(KEY) is None
            assert store.save(KEY, entry(number)) is None
    assert len(warned(caplog)) == 1


def test_a_removed_folder_is_created_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "folder")
    for path in scene.folder.iterdir():
        path.unlink()
    scene.folder.rmdir()
    token = scene.save()
    assert scene.shared() == token


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(where)]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  literal
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no small file system can be mounted here: it takes root")
    yield where
    subprocess.run(["umount", str(where)], check=True)  # noqa: S603, S607  literal


def test_a_full_disk(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:  # F8
    scene = Scene(small_disk / "folder")
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(b"x" * (1 << 20))
    scene.save()
    assert scene.shared() == scene.old
    assert scene.drafts() == []
    assert len(warned(caplog)) == 1
    filler.unlink()
    renewed = scene.save()
    assert scene.shared() == renewed


class TestADiskThatWasFull:
    @pytest.fixture
    def full(self, tmp_path: Path) -> Fault:
        return Fault("write", tmp_path, errno.ENOSPC, sticky=True)

    @pytest.fixture
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(polling, "SAVE_AGAIN", 0.05)

    @pytest.fixture
    def grant(self) -> CountingGrant:
        return CountingGrant()

    @pytest.fixture
    def manager(self, grant: CountingGrant, tmp_path: Path) -> TokenManager:
        return sibling(grant, tmp_path, policy=RefreshPolicy(recheck=0.01))

    @pytest.mark.usefixtures("_soon")
    def test_gets_the_token_later_without_another_grant(
        self, full: Fault, grant: CountingGrant, manager: TokenManager, tmp_path: Path
    ) -> None:
        with injected(full):
            token = manager.token()

        def is_shared() -> bool:
            manager.token()
            return FileStore(tmp_path).load(grant.key) is not None

        eventually(is_shared)
        assert manager.token() == sibling(grant, tmp_path).token() == token
        assert grant.requests == 1

    @pytest.mark.usefixtures("_soon")
    def test_gets_the_revocation_later(
        self, full: Fault, grant: CountingGrant, manager: TokenManager, tmp_path: Path
    ) -> None:
        def has_a_token() -> bool:
            waiters.run(polling.poll(manager.renewer, clock.now()))
            entry = FileStore(tmp_path).load(grant.key)
            return entry is not None and entry.token is not None

        manager.token()
        with injected(full):
            manager.revoke()
            assert has_a_token()

        eventually(lambda: not has_a_token())

    def test_is_not_written_to_at_each_poll(
        self, full: Fault, manager: TokenManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(polling, "SAVE_AGAIN", 1000.0)
        with injected(full):
            manager.token()
            tries = full.failed
            for _ in range(50):
                clock.sleep(0.011)
                manager.token()
            assert 0 < tries == full.failed
