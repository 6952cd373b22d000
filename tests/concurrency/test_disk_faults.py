"""Whatever the disk does, requests go on from memory, and the log says it once."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, Token
from support.fleet import CountingGrant, sibling
from support.fleet_faults import CALLS, ERRNOS, Fault, descriptors, injected
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="descriptors are looked at through /proc"
)


class Scene:
    """A fleet's folder with the token of another process in it, and a manager that renews."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.grant = CountingGrant()
        self.old = sibling(self.grant, folder).token()
        self.manager = sibling(self.grant, folder, timeout=0.2)
        # as on a first start, but for the draft of a process that was killed
        for path in [*folder.glob("*.lock"), *folder.glob("*.save")]:
            path.unlink()
        FileStore(folder).path(self.grant.key).with_suffix(".1-dead.tmp").touch(mode=0o600)

    def go_through(self) -> Token:
        """All that a manager does with files."""
        self.manager.token(timeout=20)
        renewed = self.manager.refresh(timeout=20)
        assert self.manager.token(timeout=0.0) == renewed
        # what is known of the file is looked at again
        self.manager.renewer.look_anew(self.manager.renewer.snapshot.due_at)
        assert self.manager.token(timeout=0.0) == renewed
        return renewed

    def shared(self) -> Token:
        """What a process that starts now would find."""
        entry = FileStore(self.folder).load(self.grant.key)
        assert isinstance(entry, Token)
        return entry

    def drafts(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.suffix == ".tmp"]


def calls_of(call: str, folder: Path) -> int:
    """How often a whole run makes this call."""
    fault = Fault(call, folder, first=1 << 30)
    scene = Scene(folder)
    with injected(fault):
        scene.go_through()
    return fault.seen


def faults(call: str, count: int, folder: Path) -> Iterator[Fault]:
    for number in ERRNOS:
        if call == "flock" and number == errno.EACCES:
            continue  # some file systems say so when another process holds the lock
        for first in range(count):
            for sticky in (False, True):
                name = f"{errno.errorcode[number]}-{first}-{sticky}"
                yield Fault(call, folder / name, number, first, sticky)


@pytest.mark.parametrize("call", CALLS)
def test_any_file_call_may_fail_with_any_error_once_or_for_ever(  # F8
    call: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count = calls_of(call, tmp_path / "counted")
    assert count > 0, "this call is not made: take it off the list"
    for fault in faults(call, count, tmp_path):
        scene = Scene(fault.folder)
        caplog.clear()
        with injected(fault):
            renewed = scene.go_through()
        assert fault.failed > 0, fault
        warnings = warned(caplog)
        assert len(warnings) <= 1, (fault, warnings)
        assert scene.shared() in (scene.old, renewed), fault
        assert descriptors(fault.folder) == [], fault
        # that of a dead process may stay where no lock was had; its own never does
        assert all(name.endswith(".1-dead.tmp") for name in scene.drafts()), fault
        healed = scene.manager.refresh(timeout=20)
        assert scene.shared() == healed, fault
        assert scene.drafts() == [], fault


@pytest.mark.parametrize("taken", [0, 1, 100])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_a_short_write_is_made_up_for_or_leaves_the_old_file(  # F8
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
        renewed = scene.go_through()
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
        renewed = scene.go_through()
    assert len(warned(caplog)) == 1
    assert scene.shared() == renewed
    assert descriptors(scene.folder) == []


def test_without_locks_no_process_sweeps_the_draft_of_another(tmp_path: Path) -> None:  # F9
    scene = Scene(tmp_path / "folder")
    draft = FileStore(scene.folder).path(scene.grant.key).with_suffix(".4711-live.tmp")
    draft.touch(mode=0o600)
    with injected(Fault("flock", scene.folder, errno.ENOLCK, sticky=True)):
        scene.go_through()
    assert draft.exists()
    scene.manager.refresh(timeout=20)
    assert not draft.exists()


def test_a_fault_that_lasts_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path / "folder")
    with injected(Fault("open", scene.folder, errno.ENOSPC, sticky=True)):
        for _ in range(5):
            scene.go_through()
    assert len(warned(caplog)) == 1
    assert "No space left" in caplog.text
    assert str(scene.folder) in caplog.text


def test_a_second_cause_is_said_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path / "folder")
    for number in (errno.ENOSPC, errno.EROFS):
        with injected(Fault("open", scene.folder, number, sticky=True)):
            scene.go_through()
    assert len(warned(caplog)) == 2


def test_a_folder_that_cannot_be_made_is_no_obstacle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    manager = sibling(CountingGrant(), tmp_path / "file" / "folder")
    assert manager.token() == manager.token()
    assert manager.refresh().value
    assert len(warned(caplog)) == 1


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "folder")
    for path in scene.folder.iterdir():
        path.unlink()
    scene.folder.rmdir()
    token = scene.manager.refresh(timeout=20)
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


def test_a_disk_that_is_full(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:  # F8
    scene = Scene(small_disk / "folder")
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(b"x" * (1 << 20))
    scene.go_through()
    assert scene.shared() == scene.old
    assert scene.drafts() == []
    assert len(warned(caplog)) == 1
    filler.unlink()
    renewed = scene.manager.refresh(timeout=20)
    assert scene.shared() == renewed
