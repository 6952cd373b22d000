"""SIGKILL at every line of a renewal with its save, and at any moment: never a damaged file."""

from __future__ import annotations

import os
import random
import signal
import stat
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from evertoken import FileStore, Token, clock
from evertoken.demand import Demand
from evertoken.stores.file_lock import Hold
from support.fleet import CountingGrant, sibling
from support.forks import forked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from evertoken import TokenKey

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

TRACED = "/evertoken/"
TRACED_IN_SOAK = "/filelock/"


def token(name: str) -> Token:
    now = clock.now()
    return Token(name, now.wall, now.wall + 3600.0, issued_boot=now.boot)


@dataclass
class Wreck:
    """What the killed processes of one folder left, looked at after each of them.

    Attributes:
        seen: values that the file was found to hold.
    """

    folder: Path
    key: TokenKey
    seen: set[str] = field(default_factory=set)

    def check(self, allowed: Callable[[str], bool]) -> None:
        entry = FileStore(self.folder).load(self.key)
        assert isinstance(entry, Token), "a damaged or missing file"
        assert allowed(entry.value), "neither the old token nor a new one"
        self.seen.add(entry.value)
        store = FileStore(self.folder)
        for suffix in (".lock", ".save"):
            with store._locked(store._beside(self.key, suffix), 0.0) as hold:
                assert hold is Hold.HELD, f"the {suffix} of a dead process is held"
        left = [path for path in self.folder.iterdir() if path.suffix == ".tmp"]
        assert len(left) <= 1, "leftover drafts are not swept"
        for path in self.folder.iterdir():
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600, path.name


def killed_at(call: Callable[[], object], count: int, *, again: bool) -> bool:
    """Whether a child that kills itself at its so-and-so-many-th traced line came that far.

    Lines that it passes for the second time do not count, nor do those of filelock, unless `again`
    says so.
    """

    def die_there() -> None:
        passed: set[tuple[str, int]] = set()
        left = count

        def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
            nonlocal left
            place = frame.f_code.co_filename, frame.f_lineno
            if TRACED not in place[0] and not (again and TRACED_IN_SOAK in place[0]):
                return None
            if event == "line" and (again or place not in passed):
                passed.add(place)
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        call()

    _, status = os.waitpid(forked(die_there), 0)
    return os.WIFSIGNALED(status)


def renewing(folder: Path, grant: CountingGrant) -> Callable[[], object]:
    grant.request = lambda: token("new")  # type: ignore[method-assign]  # a name to look for
    renewal = sibling(grant, folder).renewer.renewal()
    demand = Demand(snapshot=sibling(grant).renewer.snapshot, start=clock.now(), force=True)
    return lambda: renewal.run(demand)


def test_killed_at_any_line_it_leaves_the_old_token_or_the_new_one(  # F1
    tmp_path: Path, *, soak: bool
) -> None:
    grant = CountingGrant()
    wreck = Wreck(tmp_path, grant.key)
    lines = 0
    while True:
        # as a file of an earlier time: the next save replaces it
        for path in tmp_path.glob("*.json"):
            path.unlink()
        FileStore(tmp_path).save(grant.key, token("old"))
        if not killed_at(renewing(tmp_path, grant), lines, again=soak):
            break
        wreck.check({"old", "new"}.__contains__)
        lines += 1
    print(f"{lines} lines")  # noqa: T201  a number to report
    assert lines > 100, "nothing was traced"
    assert wreck.seen == {"old", "new"}


def test_killed_at_random_moments_it_leaves_a_whole_file(  # F1
    tmp_path: Path, *, soak: bool
) -> None:
    grant = CountingGrant()
    dice = random.Random(20_261_123)  # noqa: S311  to be repeated
    wreck = Wreck(tmp_path, grant.key)
    FileStore(tmp_path).save(grant.key, token("0-0"))
    last, leftovers, kills = 0, 0, 10_000 if soak else 500
    for number in range(1, kills + 1):

        def save_all_the_time(number: int = number) -> None:
            store, count = FileStore(tmp_path), 0
            while True:
                count += 1
                with store.lock(grant.key, timeout=1.0):
                    store.save(grant.key, token(f"{number}-{count}"))

        child = forked(save_all_the_time)
        time.sleep(dice.uniform(0.0, 0.012))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        leftovers += any(path.suffix == ".tmp" for path in tmp_path.iterdir())
        wreck.check(lambda value: int(value.split("-")[0]) <= number)  # noqa: B023  called at once
        entry = FileStore(tmp_path).load(grant.key)
        assert isinstance(entry, Token)
        writer = int(entry.value.split("-")[0])
        assert writer >= last, "a later token was lost to an earlier one"
        last = writer
    print(f"{kills} kills, {len(wreck.seen)} tokens seen, a draft left {leftovers} times")  # noqa: T201
    # on a busy machine most of them die before their first save
    assert len(wreck.seen) > kills / 1000
    assert leftovers > 0, "no kill came in the middle of a save"


def test_a_renewing_process_may_be_killed_at_any_moment(
    tmp_path: Path, *, soak: bool
) -> None:  # F1
    grant = CountingGrant()
    dice = random.Random(20_261_125)  # noqa: S311  to be repeated
    wreck = Wreck(tmp_path, grant.key)
    manager = sibling(grant, tmp_path)
    last = manager.token()

    def renew_all_the_time() -> None:
        while True:
            manager.refresh()

    for _ in range(2_000 if soak else 100):
        child = forked(renew_all_the_time)
        time.sleep(dice.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        wreck.check(lambda value: value.startswith("token-"))
        entry = FileStore(tmp_path).load(grant.key)
        assert isinstance(entry, Token)
        assert not last.later_than(entry), "a later token was lost to an earlier one"
        last = entry
    assert len(wreck.seen) > 10, "no child came as far as a renewal"


def test_a_reader_never_sees_a_file_that_is_being_written(tmp_path: Path) -> None:
    grant = CountingGrant()
    FileStore(tmp_path).save(grant.key, token("first"))

    def save_all_the_time() -> None:
        store = FileStore(tmp_path)
        while True:
            # of changing length, so that a file written in place would be seen torn
            store.save(grant.key, token("x" * random.randrange(1, 20_000)))  # noqa: S311

    writers = [forked(save_all_the_time) for _ in range(2)]
    try:
        values = [FileStore(tmp_path).load(grant.key) for _ in range(1500)]
    finally:
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
    assert all(isinstance(value, Token) for value in values)
    assert len({value.value for value in values if isinstance(value, Token)}) > 10
