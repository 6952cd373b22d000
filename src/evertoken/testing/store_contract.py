"""The contract of every store, as pytest tests for a custom store.

```python
import pytest
from evertoken.testing import StoreContract

class TestMyStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: MyStore(tmp_path)
```

The tests use the real clocks, which stores read. A store may shift times by as much as an answer of
its medium takes, so they are compared to the second.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from evertoken.core.entry import NOTHING, Entry, join, normalised
from evertoken.core.failure_kind import FailureKind
from evertoken.core.hold import Hold
from evertoken.core.login import Initial, Login
from evertoken.core.token import LONGEST_LIFETIME
from evertoken.ports import LeasedStore, TokenStore
from evertoken.runtime import clock
from evertoken.stores.memory import MemoryStore
from evertoken.testing.entries import (
    DAY,
    HOUR,
    KEY,
    PLANTED,
    SALT,
    assert_same,
    failure,
    issued,
    refusal,
    token_in,
)
from evertoken.testing.threads import BOUND, in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken.core.instant import Instant
    from evertoken.core.token import Token, TokenKey

OTHERS = [
    replace(KEY, token_url="https://other.example/oauth/token/"),
    replace(KEY, client_id="another"),
    replace(KEY, username="another"),
    replace(KEY, username=None),
    replace(KEY, scope="read"),
    replace(KEY, scope=None),
    replace(KEY, extra=(("audience", "api"),)),
]
"""Identities that differ from `KEY` in one field each."""

_OF_FILES = ("open", "mkdir", "write", "pwrite", "replace", "rename", "link", "fsync", "unlink")
_OF_SOCKETS = ("connect", "send", "sendall", "recv", "recv_into")


def held(token: Token) -> Entry:
    """The entry after a grant."""
    return Entry.of_token(token)


def refused(now: Instant, credentials_hash: bytes = b"hash", *, pause: float = 300.0) -> Entry:
    """The entry after a refusal."""
    failed = refusal(now, credentials_hash=credentials_hash, pause=pause)
    return Entry.of_failure(failed, SALT)


def elsewhere(store: TokenStore, key: TokenKey, timeout: float) -> Hold:
    """The result of taking the lock in another thread within `timeout` seconds."""

    def try_it() -> Hold:
        with store.lock(key, timeout=timeout) as hold:
            return hold

    (hold,) = in_threads(1, try_it)
    assert isinstance(hold, Hold)
    return hold


def _all_but_modules(failing: mock.Mock) -> Callable[..., object]:
    """`open` that fails, but for modules: pytest reads those that a store loads late with it."""
    real = open

    def opened(file: object, *args: object, **options: object) -> object:
        call: Callable[..., object] = real if str(file).endswith((".py", ".pyc")) else failing
        return call(file, *args, **options)

    return opened


class StoreContract:
    """Tests of one kind of store; subclass it under a name that begins with `Test`.

    The subclass has a fixture `make_store`: a callable without arguments that returns a store on
    one medium, which is empty at first. A second call returns another store on that medium, as
    another process would. All its files are in `tmp_path`.
    """

    @pytest.fixture
    def make_store(self) -> Callable[[], TokenStore]:
        """A function that makes a store; a subclass must define it."""
        raise NotImplementedError("a contract needs a fixture make_store")

    @contextlib.contextmanager
    def broken(self, number: int) -> Iterator[None]:
        """Make every call to the medium raise an `OSError` with this number.

        Python's file and socket calls fail. A store that reaches its medium in another way (a C
        library, a subprocess) overrides this.
        """
        failing = mock.Mock(side_effect=OSError(number, os.strerror(number)))
        with contextlib.ExitStack() as stack:
            for name in filter(lambda it: hasattr(os, it), _OF_FILES):
                stack.enter_context(mock.patch.object(os, name, failing))
            for name in _OF_SOCKETS:
                stack.enter_context(mock.patch.object(socket.socket, name, failing))
            opened = _all_but_modules(failing)
            stack.enter_context(mock.patch.object(io, "open", opened))
            stack.enter_context(mock.patch("builtins.open", opened))
            yield

    @pytest.fixture
    def store(self, make_store: Callable[[], TokenStore]) -> TokenStore:
        """An empty store."""
        return make_store()

    @pytest.fixture
    def sibling(self, store: TokenStore, make_store: Callable[[], TokenStore]) -> TokenStore:
        """A second store on the same medium, as in another process."""
        del store
        return make_store()

    @pytest.fixture
    def now(self) -> Instant:
        """The current time."""
        return clock.now()

    # -- load and save -----------------------------------------------------------------------------

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

    # -- saves are joins ---------------------------------------------------------------------------

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

    # -- revocation --------------------------------------------------------------------------------

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

    # -- locks -------------------------------------------------------------------------------------

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

    # -- the medium --------------------------------------------------------------------------------

    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.ETIMEDOUT])
    def test_whatever_its_medium_does_it_raises_nothing(
        self, store: TokenStore, now: Instant, number: int
    ) -> None:  # F8
        store.save(KEY, held(issued(now)))
        later = held(issued(now.after(1), value="later"))
        with self.broken(number):
            store.load(KEY)
            kept = store.save(KEY, later)
            for timeout in (0.0, 0.05):
                with store.lock(KEY, timeout=timeout) as hold:
                    assert isinstance(hold, Hold)
        # the memory of the process does not fail
        assert kept is None or isinstance(store, MemoryStore), (
            "broken() broke nothing: override it so that the medium of this store fails"
        )
        end = time.monotonic() + BOUND
        while store.save(KEY, later) is None:
            assert time.monotonic() < end, "it does not serve again once its medium does"
            time.sleep(0.05)
        assert token_in(store) == "later"

    @pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
    def test_nobody_else_can_read_its_files(
        self, make_store: Callable[[], TokenStore], now: Instant, tmp_path: Path
    ) -> None:  # S44
        before = os.umask(0)
        try:
            store = make_store()
            with store.lock(KEY, timeout=1):
                store.save(KEY, held(issued(now)))
                found = {path: path.lstat().st_mode for path in tmp_path.rglob("*")}
        finally:
            os.umask(before)
        loose = [f"{path.name} ({mode:04o})" for path, mode in found.items() if mode & 0o077]
        assert loose == []

    def test_it_shows_no_token(self, store: TokenStore, now: Instant) -> None:  # S46
        store.save(KEY, held(issued(now, refresh_token="planted-refresh-token")))
        store.load(KEY)
        assert "planted" not in repr(store)
        assert "planted" not in str(store)
