"""What a store holds: it comes back as it was saved, for its own identity alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evertoken.core.entry import Entry, join, normalised
from evertoken.core.login import Initial, Login
from evertoken.ports import TokenStore
from evertoken.testing.entries import (
    DAY,
    HOUR,
    KEY,
    OTHERS,
    SALT,
    assert_same,
    failure,
    held,
    issued,
    refusal,
    refused,
    token_in,
)

if TYPE_CHECKING:
    from evertoken.core.instant import Instant


class EntryRules:
    """Tests of load and save."""

    def test_it_is_a_store_with_a_name(self, store: TokenStore) -> None:
        assert isinstance(store, TokenStore)
        assert isinstance(getattr(store, "name", None), str)

    def test_an_unknown_identity_has_no_entry(self, store: TokenStore) -> None:
        assert store.load(KEY) is None

    def test_a_token_comes_back_as_it_was(self, store: TokenStore, now: Instant) -> None:
        for number, reading in enumerate((True, False)):
            at = now.after(number)
            token = issued(at, value=f"dated:{reading}", refresh_token="refresh", reading=reading)
            token = replace(token, scope="read write")
            store.save(KEY, held(token))
            assert_same(store.load(KEY), held(token))

    @pytest.mark.parametrize("lifetime", [5.0, HOUR, 365 * DAY])
    def test_short_and_long_lives_come_back(
        self, store: TokenStore, now: Instant, lifetime: float
    ) -> None:
        token = held(issued(now, lifetime=lifetime))
        store.save(KEY, token)
        assert_same(store.load(KEY), token)

    def test_a_token_of_512_kib_comes_back_as_it_was(
        self, store: TokenStore, now: Instant
    ) -> None:  # S21
        token = held(issued(now, value="x" * (512 * 1024)))
        assert store.save(KEY, token) is not None
        assert_same(store.load(KEY), token)

    def test_every_part_of_an_entry_comes_back_as_it_was(
        self, store: TokenStore, now: Instant
    ) -> None:
        entry = Entry(
            token=issued(now),
            login=Login(
                "a-login", 7, being_spent=True, initials=(Initial(3, "ab"), Initial(5, "cd"))
            ),
            revoked_through=int(now.wall) - 10,
            failures=(failure(now.after(1)), refusal(now), refusal(now, credentials_hash=b"other")),
            salt=SALT,
        )
        entry = normalised(entry)
        store.save(KEY, entry)
        assert_same(store.load(KEY), entry)

    def test_a_save_returns_what_is_held_afterwards(
        self, store: TokenStore, sibling: TokenStore, now: Instant
    ) -> None:
        assert_same(store.save(KEY, held(issued(now))), held(issued(now)))
        newer = issued(now.after(5), value="newer")
        sibling.save(KEY, held(newer))
        assert_same(store.save(KEY, refused(now)), join(held(newer), refused(now)))
        # also if it knew nothing new
        assert_same(store.save(KEY, held(issued(now))), join(held(newer), refused(now)))
        assert_same(store.load(KEY), join(held(newer), refused(now)))

    def test_identities_never_cross(self, store: TokenStore, now: Instant) -> None:  # S49
        store.save(KEY, held(issued(now)))
        assert [store.load(key) for key in OTHERS] == [None] * len(OTHERS)
        for number, key in enumerate(OTHERS):
            store.save(key, held(issued(now, value=f"other-{number}")))
        store.save(OTHERS[0], Entry.of_revocation(int(now.wall)))
        assert token_in(store, OTHERS[0]) is None
        assert_same(store.load(KEY), held(issued(now)))
        for number, key in enumerate(OTHERS[1:], start=1):
            assert_same(store.load(key), held(issued(now, value=f"other-{number}")))
