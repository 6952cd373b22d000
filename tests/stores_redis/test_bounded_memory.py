"""A Redis store remembers a bounded number of identities."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evertoken.core.hold import Hold
from evertoken.stores import redis, redis_lock
from evertoken.stores.redis import RedisStore
from support.sizes import entries_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evertoken import TokenKey
    from support.valkey import Valkey

MANY = 1_100
"""More than any of these caches holds."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    # pytest keeps every record that it captures
    caplog.set_level(logging.CRITICAL, logger="evertoken")


def identities(key: TokenKey, first: int, count: int = MANY) -> Iterable[TokenKey]:
    return (replace(key, username=f"user-{first + number}") for number in range(count))


def test_a_bounded_number_of_unusable_entries_is_remembered(  # F40
    valkey: Valkey, key: TokenKey
) -> None:
    store = RedisStore(valkey.url)

    def meet(keys: Iterable[TokenKey]) -> int:
        for each in keys:
            valkey.client.set(store.entry_name(each), b'{"schema": 3}')
            assert store.load(each) is None
            assert store.trouble(each) is not None
        return len(store._flaws) + len(store._logged)

    assert meet(identities(key, 0)) == meet(identities(key, MANY)) == 2 * redis.MAX_FLAWED


@pytest.mark.parametrize("lifetime", [60_000, None], ids=["held", "endless"])
def test_a_bounded_number_of_locks_held_by_others_is_remembered(  # F40
    valkey: Valkey, key: TokenKey, lifetime: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a few, since each is waited for
    monkeypatch.setattr(redis_lock, "MAX_WAITED_FOR", 20)
    store = RedisStore(valkey.url)

    def meet(keys: Iterable[TokenKey]) -> int:
        for each in keys:
            valkey.client.set(f"evertoken:{{{each.digest()}}}:lock", "another's", px=lifetime)
            with store.lock(each, timeout=0.02) as held:
                assert held is not Hold.HELD
        return entries_in(store._locks._polls) + len(store._locks._logged)

    many = MANY if lifetime is None else 25
    first = meet(identities(key, 0, many))
    assert first >= 20
    assert first == meet(identities(key, many, many))


def test_a_bounded_number_of_locks_in_doubt_is_remembered(  # F40, F27
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_lock, "MAX_UNSETTLED", 3)
    locks = RedisStore(valkey.url)._locks
    names = [f"lock-{number}" for number in range(5)]
    with ExitStack() as held:
        for name in names:
            assert held.enter_context(locks.held(name, timeout=0.0)) is Hold.HELD
        with valkey.frozen():
            held.close()
    assert [claim.name for claim in locks._unsettled.values()] == ["lock-2", "lock-1", "lock-0"]
