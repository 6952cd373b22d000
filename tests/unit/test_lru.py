"""The LRU map: which values stay, and its use by threads."""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING, Any

from evertoken import lru
from evertoken.lru import LRU, Once
from support.fleet import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def test_beyond_its_size_the_least_recently_used_value_is_dropped() -> None:
    kept: LRU[int] = LRU(3)
    for number, name in enumerate("abc"):
        kept.put(name, number)
    assert kept.get("a") == 0
    kept.put("b", 10)
    kept.put("d", 3)
    assert kept.values() == [0, 10, 3]
    assert kept.get("c") is None


def test_a_removed_value_is_gone() -> None:
    kept: LRU[int] = LRU(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert (kept.pop("a"), kept.pop("a")) == (1, None)
    kept.clear()
    assert len(kept) == 0
    assert kept.get("b") is None


def test_a_cause_is_new_once_until_all_are_forgotten() -> None:
    once = Once()
    assert [once.first(cause) for cause in "aaba"] == [True, False, True, False]
    once.clear()
    assert once.first("a")


def test_only_the_last_causes_are_remembered() -> None:  # F40
    once = Once(maxsize=100)
    assert all(once.first(str(number)) for number in range(10_000))
    assert len(once) == 100
    assert not once.first("9999")
    assert once.first("0")


def test_threads_may_use_it_at_once() -> None:
    kept: LRU[str] = LRU(2)

    def let_others_go_on(frame: FrameType, _event: str, _: object) -> Callable[..., Any] | None:
        # at each line of the module
        if frame.f_code.co_filename != lru.__file__:
            return None
        time.sleep(0)
        return let_others_go_on

    def use() -> None:
        chance = random.Random()  # noqa: S311  it draws what to do
        before = sys.gettrace()
        sys.settrace(let_others_go_on)
        try:
            for _ in range(500):
                key = chance.choice("abcd")
                kept.put(key, f"of {key}")
                assert kept.get(key) in {None, f"of {key}"}
                kept.pop(chance.choice("abcd"))
        finally:
            sys.settrace(before)

    assert in_threads(4, use) == [None] * 4
    assert len(kept) <= 2
