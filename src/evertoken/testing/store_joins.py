"""How a store merges what is saved: late, twice, in any order, and after a revocation."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core.entry import NOTHING, Entry, join
from evertoken.core.failure_kind import FailureKind
from evertoken.core.token import LONGEST_LIFETIME
from evertoken.testing.entries import (
    HOUR,
    KEY,
    PLANTED,
    SALT,
    assert_same,
    failure,
    held,
    issued,
    refused,
    token_in,
)
from evertoken.testing.threads import in_threads

if TYPE_CHECKING:
    from evertoken.core.instant import Instant
    from evertoken.ports import TokenStore


class JoinRules:
    """Tests that a save is a join, of a revocation too."""

    def test_saves_from_two_stores_lead_to_the_same_entry_in_any_order(
        self,  # F15
        store: TokenStore,
        sibling: TokenStore,
        now: Instant,
    ) -> None:
        reports = [
            held(issued(now.after(-60), value="earlier")),
            held(issued(now, value="later")),
            Entry.of_revocation(int(now.wall) - 60),
            refused(now),
        ]
        expected = Entry(
            token=issued(now, value="later"),
            revoked_through=int(now.wall) - 60,
            failures=refused(now).failures,
            salt=SALT,
        )
        for number, order in enumerate(itertools.permutations(reports)):
            key = replace(KEY, username=f"order-{number}")
            for report, place in zip(order, itertools.cycle((store, sibling)), strict=False):
                place.save(key, report)
            assert_same(store.load(key), expected)
            assert_same(sibling.load(key), expected)

    def test_a_save_that_is_repeated_or_late_changes_nothing(
        self, store: TokenStore, sibling: TokenStore, now: Instant
    ) -> None:
        whole = join(held(issued(now)), refused(now))
        store.save(KEY, whole)
        for late in (whole, held(issued(now)), refused(now), NOTHING):
            sibling.save(KEY, late)
            assert_same(store.load(KEY), whole)

    def test_a_later_token_replaces_an_earlier_one(self, store: TokenStore, now: Instant) -> None:
        store.save(KEY, held(issued(now.after(-600), value="earlier")))
        store.save(KEY, held(issued(now)))
        assert_same(store.load(KEY), held(issued(now)))

    def test_a_later_token_is_never_lost_to_an_earlier_one(
        self,  # F15
        store: TokenStore,
        sibling: TokenStore,
        now: Instant,
    ) -> None:
        store.save(KEY, held(issued(now)))
        late = held(issued(now.after(-600), value="earlier"))
        sibling.save(KEY, late)
        assert_same(store.load(KEY), held(issued(now)))

    def test_the_generation_decides_which_token_is_later_and_no_clock_does(
        self, store: TokenStore, now: Instant
    ) -> None:
        # the clock of the machine that renews was set back by an hour
        successor = issued(now.after(-HOUR / 2), value="successor", generation=int(now.wall) + 1)
        store.save(KEY, held(issued(now)))
        store.save(KEY, held(successor))
        assert token_in(store) == "successor"

    def test_of_many_savers_the_one_with_the_latest_token_wins(
        self,  # F15
        store: TokenStore,
        now: Instant,
    ) -> None:
        turns = iter(range(6))

        def save() -> None:
            number = next(turns)
            store.save(KEY, held(issued(now.after(-number), value=f"token-{number}")))

        assert in_threads(6, save) == [None] * 6
        assert token_in(store) == "token-0"

    def test_a_token_ends_the_outage_before_it(self, store: TokenStore, now: Instant) -> None:
        store.save(KEY, Entry.of_failure(failure(now)))
        store.save(KEY, held(issued(now.after(1))))
        assert_same(store.load(KEY), held(issued(now.after(1))))

    def test_a_failure_leaves_the_live_token_in_place(
        self, store: TokenStore, now: Instant
    ) -> None:
        store.save(KEY, held(issued(now)))
        outage = Entry.of_failure(failure(now.after(1)))
        store.save(KEY, outage)
        assert_same(store.load(KEY), join(held(issued(now)), outage))

    def test_a_failure_of_other_credentials_is_kept_beside_the_first(
        self,  # S48
        store: TokenStore,
        sibling: TokenStore,
        now: Instant,
    ) -> None:
        store.save(KEY, refused(now, b"one"))
        sibling.save(KEY, refused(now, b"another"))
        entry = store.load(KEY)
        assert entry is not None
        for credentials_hash in (b"one", b"another"):
            found = entry.refusal_of(credentials_hash)
            assert found is not None
            assert str(found.error) == "the endpoint refused"
            assert (found.error.status, found.error.error) == (400, "invalid_grant")

    def test_local_failures_are_never_stored(self, store: TokenStore, now: Instant) -> None:
        local = failure(now.after(1), kind=FailureKind.LOCAL)
        store.save(KEY, Entry(failures=(local,)))
        assert store.load(KEY) is None
        store.save(KEY, Entry(token=issued(now), failures=(local,)))
        assert_same(store.load(KEY), held(issued(now)))

    def test_an_expired_token_is_gone_or_gives_way(self, store: TokenStore, now: Instant) -> None:
        store.save(KEY, held(issued(now.after(-10), value="expired", lifetime=5)))
        entry = store.load(KEY)
        assert entry is None or (entry.token is not None and entry.token.expires_at < time.time())
        store.save(KEY, held(issued(now, value="live")))
        assert token_in(store) == "live"

    def test_a_generation_from_the_far_future_is_demoted_and_the_token_kept(
        self,  # S57
        store: TokenStore,
        now: Instant,
    ) -> None:
        far = int(now.wall + 2 * LONGEST_LIFETIME)
        store.save(KEY, held(issued(now, value="of-2099", generation=far)))
        entry = store.load(KEY)
        assert entry is not None
        assert entry.token is not None
        assert entry.token.value == "of-2099"
        assert entry.newest < now.wall
        store.save(KEY, held(issued(now, value="next")))
        assert token_in(store) == "next"

    def test_a_revoked_token_is_not_brought_back_by_a_late_save(
        self,  # S41
        store: TokenStore,
        sibling: TokenStore,
        now: Instant,
    ) -> None:
        token = issued(now)
        store.save(KEY, held(token))
        sibling.save(KEY, Entry.of_revocation(token.generation))
        for late in (held(token), join(held(token), refused(now)), held(issued(now.after(-9)))):
            store.save(KEY, late)
            entry = sibling.load(KEY)
            assert entry is not None
            assert (entry.token, entry.revoked_through) == (None, token.generation)

    def test_a_token_is_revoked_that_the_store_never_held(
        self, store: TokenStore, now: Instant
    ) -> None:
        store.save(KEY, Entry.of_revocation(int(now.wall)))
        store.save(KEY, held(issued(now)))
        assert_same(store.load(KEY), Entry.of_revocation(int(now.wall)))

    def test_a_revocation_of_an_earlier_token_spares_the_later_one(
        self,  # S41
        store: TokenStore,
        now: Instant,
    ) -> None:
        store.save(KEY, held(issued(now)))
        store.save(KEY, Entry.of_revocation(int(now.wall) - 600))
        assert token_in(store) == PLANTED

    def test_a_later_token_follows_a_revoked_one(self, store: TokenStore, now: Instant) -> None:
        store.save(KEY, held(issued(now)))
        store.save(KEY, Entry.of_revocation(int(now.wall)))
        store.save(KEY, held(issued(now.after(1), value="later")))
        assert token_in(store) == "later"

    def test_a_revocation_keeps_the_failures(self, store: TokenStore, now: Instant) -> None:  # S48
        store.save(KEY, join(held(issued(now)), refused(now)))
        store.save(KEY, Entry.of_revocation(int(now.wall)))
        expected = Entry(revoked_through=int(now.wall), failures=refused(now).failures, salt=SALT)
        assert_same(store.load(KEY), expected)
