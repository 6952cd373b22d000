"""How folders are created, and which folders are trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evertoken.stores import private_folders
from evertoken.stores.private_folders import UntrustedFolder, distrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX modes and owners")

USER, GROUP, STRANGER = 1000, 1001, 4711


def folder_of(uid: int, gid: int, mode: int) -> os.stat_result:
    return os.stat_result((stat.S_IFDIR | mode, 1, 1, 2, uid, gid, 0, 0, 0, 0))


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


@pytest.mark.parametrize(
    ("uid", "gid", "mode"),
    [
        (USER, GROUP, 0o700),
        (USER, STRANGER, 0o755),
        (USER, GROUP, 0o775),
        (USER, GROUP, 0o2770),
        (0, 0, 0o755),
        (0, GROUP, 0o775),
        (0, STRANGER, 0o750),
    ],
)
def test_a_folder_that_only_its_user_and_root_can_change_is_trusted(  # S56
    uid: int, gid: int, mode: int
) -> None:
    assert distrusted(folder_of(uid, gid, mode), uid=USER, gid=GROUP) is None


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "reason"),
    [
        (STRANGER, GROUP, 0o700, "belongs to another user (uid 4711)"),
        (STRANGER, GROUP, 0o777, "belongs to another user (uid 4711)"),
        (USER, GROUP, 0o707, "everyone can write to this folder (mode 0707)"),
        (USER, GROUP, 0o702, "everyone can write to this folder (mode 0702)"),
        (0, 0, 0o1777, "everyone can write to this folder (mode 1777)"),
        (USER, STRANGER, 0o770, "the group 4711 can write to this folder (mode 0770)"),
        (USER, STRANGER, 0o720, "the group 4711 can write to this folder (mode 0720)"),
        (0, 0, 0o775, "the group 0 can write to this folder (mode 0775)"),
        (0, STRANGER, 0o2775, "the group 4711 can write to this folder (mode 2775)"),
    ],
)
def test_a_folder_that_others_own_or_can_change_is_not_trusted(  # S56
    uid: int, gid: int, mode: int, reason: str
) -> None:
    assert reason in str(distrusted(folder_of(uid, gid, mode), uid=USER, gid=GROUP))


def test_root_trusts_no_folder_of_a_user() -> None:  # S56
    assert distrusted(folder_of(USER, GROUP, 0o700), uid=0, gid=0) is not None


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277, 0o777], ids="{:04o}".format)
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    del tmp_path  # created with the usual umask
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_each_level_that_is_created_has_mode_0700_under_any_umask(tmp_path: Path) -> None:  # S56
    path = tmp_path / "a" / "b" / "c"
    private_folders.make(path)
    assert [mode_of(level) for level in (path, *path.parents[:2])] == ["0700"] * 3


def test_folders_that_exist_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    private_folders.make(tmp_path / "a" / "b")
    private_folders.make(tmp_path / "a")
    assert mode_of(tmp_path / "a") == "0755"


@pytest.mark.parametrize("path", ["a/b", "./a/../b/c", "b/"])
def test_a_relative_path_is_created_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    private_folders.make(Path(path))
    assert (tmp_path / path).is_dir()


def test_a_level_that_another_process_creates_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def second(path: Path, mode: int = 0o777) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", second)
    private_folders.make(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_file_in_the_way_is_an_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((FileExistsError, NotADirectoryError)):
        private_folders.make(tmp_path / "file" / below)


def test_a_link_to_a_folder_is_checked_at_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "folder")
    (tmp_path / "folder").mkdir(mode=0o700)
    private_folders.check(link)
    (tmp_path / "folder").chmod(0o777)
    with pytest.raises(UntrustedFolder):
        private_folders.check(link)


def test_the_remedy_for_an_own_folder_is_a_command_that_works(tmp_path: Path) -> None:
    folder = tmp_path / "my tokens"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UntrustedFolder) as caught:
        private_folders.check(folder)
    _, command, _ = str(caught.value).split("`")
    assert os.system(command) == 0  # noqa: S605  it is what users are told to type
    private_folders.check(folder)


def test_no_remedy_closes_a_folder_that_is_shared_on_purpose(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(UntrustedFolder, match="choose a new folder inside it") as caught:
        private_folders.check(tmp_path)
    assert "chmod" not in str(caught.value)
