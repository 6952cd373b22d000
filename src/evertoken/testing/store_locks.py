"""How a store locks: one holder for each identity, and no wait beyond the timeout."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from evertoken.core.entry import Entry
from evertoken.core.hold import Hold
from evertoken.ports import LeasedStore
from evertoken.testing.entries import (
    KEY,
    OTHERS,
    PLANTED,
    assert_same,
    held,
    issued,
    token_in,
)
from evertoken.testing.threads import BOUND, in_threads

if TYPE_CHECKING:
    from evertoken.core.instant import Instant
    from evertoken.core.token import TokenKey
    from evertoken.ports import TokenStore


def elsewhere(store: TokenStore, key: TokenKey, timeout: float) -> Hold:
    """The result of taking the lock in another thread within `timeout` seconds."""

    def try_it() -> Hold:
        with store.lock(key, timeout=timeout) as hold:
            return hold

    (hold,) = in_threads(1, try_it)
    assert isinstance(hold, Hold)
    return hold


class LockRules:
    """Tests of the lock."""

    def test_a_lock_is_free_at_first_and_again_afterwards(self, store: TokenStore) -> None:
        for _ in range(3):
            with store.lock(KEY, timeout=0) as hold:
                assert hold is Hold.HELD
        assert elsewhere(store, KEY, 0) is Hold.HELD

    @pytest.mark.parametrize("timeout", [0.0, 0.05])
    def test_a_lock_is_busy_while_another_thread_holds_it(
        self, store: TokenStore, timeout: float
    ) -> None:
        with store.lock(KEY, timeout=1) as hold:
            assert hold is Hold.HELD
            assert elsewhere(store, KEY, timeout) is Hold.BUSY
            # a failed try releases nothing
            assert elsewhere(store, KEY, timeout) is Hold.BUSY
        assert elsewhere(store, KEY, 0) is Hold.HELD

    def test_only_a_busy_lock_counts_as_not_held(self) -> None:
        # a custom store may yield a bool, so code that tests for one keeps working
        assert [bool(hold) for hold in (Hold.HELD, Hold.BUSY, Hold.ABSENT)] == [True, False, True]

    def test_a_waiter_gets_the_lock_when_it_is_released(self, store: TokenStore) -> None:
        results: list[Hold] = []
        waiter = threading.Thread(
            target=lambda: results.append(elsewhere(store, KEY, BOUND)), daemon=True
        )
        with store.lock(KEY, timeout=1):
            waiter.start()
            assert elsewhere(store, KEY, 0) is Hold.BUSY
            assert results == []
        waiter.join(BOUND)
        assert results == [Hold.HELD]

    def test_one_thread_at_a_time_is_inside(self, store: TokenStore) -> None:
        def enter() -> tuple[Hold, Hold]:
            with store.lock(KEY, timeout=BOUND) as hold:
                return hold, elsewhere(store, KEY, 0)

        assert in_threads(6, enter) == [(Hold.HELD, Hold.BUSY)] * 6

    def test_the_lock_of_one_identity_does_not_block_another(
        self, store: TokenStore
    ) -> None:  # S49
        with store.lock(KEY, timeout=1):
            assert {elsewhere(store, key, 0) for key in OTHERS} == {Hold.HELD}

    def test_a_lock_is_free_after_an_error_inside(self, store: TokenStore) -> None:
        with pytest.raises(LookupError), store.lock(KEY, timeout=1):
            raise LookupError
        assert elsewhere(store, KEY, 0) is Hold.HELD

    def test_a_lock_that_can_be_lost_is_still_held_while_it_is_held(
        self, store: TokenStore, sibling: TokenStore
    ) -> None:
        if not isinstance(store, LeasedStore):
            return
        assert isinstance(sibling, LeasedStore)
        assert not store.still_held(KEY)
        with store.lock(KEY, timeout=1):
            assert store.still_held(KEY)
            assert not store.still_held(OTHERS[0])
            with sibling.lock(KEY, timeout=0):
                assert not sibling.still_held(KEY)
            assert store.still_held(KEY)
        assert not store.still_held(KEY)

    def test_everything_works_under_the_lock(self, store: TokenStore, now: Instant) -> None:
        with store.lock(KEY, timeout=1) as hold:
            assert hold is Hold.HELD
            store.save(KEY, held(issued(now)))
            assert_same(store.load(KEY), held(issued(now)))
            store.save(KEY, Entry.of_revocation(int(now.wall)))
            assert token_in(store) is None

    def test_everything_works_without_the_lock(
        self, store: TokenStore, now: Instant
    ) -> None:  # F14
        with store.lock(KEY, timeout=1):

            def save() -> str | None:
                store.save(KEY, held(issued(now)))
                return token_in(store)

            assert in_threads(1, save) == [PLANTED]
