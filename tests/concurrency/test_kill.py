"""SIGKILL at every line of a locked save, and at random moments: the file is never damaged."""

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

from evertoken import FileStore
from evertoken.core.entry import Entry
from evertoken.core.hold import Hold
from evertoken.core.token import Token
from evertoken.runtime import clock
from support.core_values import KEY
from support.entries import token_in
from support.fleet import CountingGrant, sibling
from support.forks import forked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from evertoken.core.token import TokenKey

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

TRACED = "/evertoken/"
TRACED_IN_SOAK = "/filelock/"


def token(name: str, *, later: int = 0) -> Entry:
    now = clock.now()
    generation = int(now.wall) + later
    return Entry(token=Token(name, now.wall, now.wall + 3600.0, None, None, now.boot, generation))


@dataclass
class Wreck:
    """The state that killed processes left in a folder, checked after each of them.

    Attributes:
        seen: the values found in the file.
    """

    folder: Path
    key: TokenKey
    seen: set[str] = field(default_factory=set)

    def check(self, allowed: Callable[[str], bool]) -> None:
        value = token_in(FileStore(self.folder), self.key)
        assert value is not None, "a damaged or missing file"
        assert allowed(value), "neither the old token nor a new one"
        self.seen.add(value)
        store = FileStore(self.folder)
        for suffix in (".lock", ".save"):
            with store._locked(store._path_of(self.key, suffix), 0.0) as lock:
                assert lock.hold is Hold.HELD, f"the {suffix} of a dead process is held"
        left = [path for path in self.folder.iterdir() if path.suffix == ".tmp"]
        assert len(left) <= 1, "leftover drafts are not swept"
        for path in self.folder.iterdir():
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600, path.name


def killed_at(call: Callable[[], object], count: int, *, again: bool) -> bool:
    """Whether a child that kills itself at the given traced line got that far.

    Only the first pass of a line counts, and no line of filelock, unless `again` is true.
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


def saving(folder: Path) -> Callable[[], object]:
    store, new = FileStore(folder), token("new", later=1)

    def save() -> None:
        with store.lock(KEY, timeout=1.0):
            store.load(KEY)
            store.save(KEY, new)

    return save


@pytest.mark.timeout(600)  # one fork for each of 350 lines
def test_a_process_killed_at_any_line_leaves_the_old_token_or_the_new_one(  # F1
    tmp_path: Path, *, soak: bool
) -> None:
    wreck = Wreck(tmp_path, KEY)
    lines = 0
    while True:
        # an old file, which the next save replaces
        for path in tmp_path.glob("*.json"):
            path.unlink()
        FileStore(tmp_path).save(KEY, token("old"))
        if not killed_at(saving(tmp_path), lines, again=soak):
            break
        wreck.check({"old", "new"}.__contains__)
        lines += 1
    print(f"{lines} lines")  # noqa: T201  a number to report
    assert lines > 100, "nothing was traced"
    assert wreck.seen == {"old", "new"}


def test_a_process_killed_at_a_random_moment_leaves_a_whole_file(  # F1
    tmp_path: Path, *, soak: bool
) -> None:
    dice = random.Random(20_261_123)  # noqa: S311  to be repeated
    wreck = Wreck(tmp_path, KEY)
    FileStore(tmp_path).save(KEY, token("0-0"))
    last, leftovers, kills = 0, 0, 10_000 if soak else 500
    for number in range(1, kills + 1):

        def save_all_the_time(number: int = number) -> None:
            store, count = FileStore(tmp_path), 0
            while True:
                count += 1
                with store.lock(KEY, timeout=1.0):
                    store.save(KEY, token(f"{number}-{count}", later=1000 * number + count))

        child = forked(save_all_the_time)
        time.sleep(dice.uniform(0.0, 0.012))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        leftovers += any(path.suffix == ".tmp" for path in tmp_path.iterdir())
        wreck.check(lambda value: int(value.split("-")[0]) <= number)  # noqa: B023  called at once
        value = token_in(FileStore(tmp_path), KEY)
        assert value is not None
        writer = int(value.split("-")[0])
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

    started = time.monotonic()
    os.waitpid(forked(manager.refresh), 0)
    one_renewal = time.monotonic() - started
    for _ in range(2_000 if soak else 100):
        child = forked(renew_all_the_time)
        time.sleep(dice.uniform(0.0, 3 * one_renewal))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        wreck.check(lambda value: value.startswith("token-"))
        entry = FileStore(tmp_path).load(grant.key)
        assert entry is not None
        assert entry.token is not None
        assert last.generation <= entry.token.generation, "a later token was lost to an earlier one"
        last = entry.token
    assert len(wreck.seen) > 10, "no child came as far as a renewal"


def test_a_reader_never_sees_a_file_that_is_being_written(tmp_path: Path) -> None:
    FileStore(tmp_path).save(KEY, token("first"))

    def save_all_the_time() -> None:
        store, count = FileStore(tmp_path), 0
        while True:
            count += 1
            # the length varies, so that a file written in place would be seen torn
            value = "x" * random.randrange(1, 20_000)  # noqa: S311  no secret
            store.save(KEY, token(value, later=count))

    writers = [forked(save_all_the_time) for _ in range(2)]
    try:
        values = [token_in(FileStore(tmp_path)) for _ in range(1500)]
    finally:
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
    assert None not in values
    assert len(set(values)) > 10
