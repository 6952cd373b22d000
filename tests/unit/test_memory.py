"""`MemoryStore`, beyond the contract of every store."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import pytest

from evertoken import MemoryStore
from evertoken.core.entry import Entry, join
from evertoken.core.hold import Hold
from evertoken.core.login import Login
from evertoken.core.token import TokenKey
from evertoken.runtime import clock
from evertoken.stores.memory import process_wide
from support.core_values import HOUR, KEY, failure, issued
from support.entries import content
from support.fleet import BOUND, eventually
from support.values import pickled

OTHER = replace(KEY, username="agent-8")


def token(value: str = "abc", *, lifetime: float = HOUR) -> Entry:
    return Entry.of_token(issued(clock.now(), value=value, lifetime=lifetime))


def outage(*, pause: float) -> Entry:
    # a second later, so that a newer token of this test does not clear it
    at = clock.now()
    return Entry.of_failure(failure(at, pause=pause, generation=int(at.wall) + 1))


def test_managers_of_one_process_share_one_memory_store() -> None:
    assert process_wide() is process_wide()
    assert isinstance(process_wide(), MemoryStore)


@pytest.mark.parametrize("maxsize", [0, -1])
def test_a_store_of_size_zero_is_rejected(maxsize: int) -> None:
    with pytest.raises(ValueError, match="maxsize"):
        MemoryStore(maxsize)


def test_beyond_its_size_the_least_recently_used_identity_is_dropped() -> None:
    store = MemoryStore(maxsize=2)
    first, second, third = (replace(KEY, username=name) for name in ("one", "two", "three"))
    store.save(first, token())
    store.save(second, token())
    store.load(first)
    store.save(third, token())
    assert [store.load(key) is None for key in (first, second, third)] == [False, True, False]
    assert pickled(store)._maxsize == 2


def test_a_token_is_dropped_when_it_expires() -> None:
    store = MemoryStore()
    store.save(KEY, token(lifetime=0.05))
    eventually(lambda: store.load(KEY) is None)


def test_a_failure_is_dropped_when_it_ends() -> None:
    store = MemoryStore()
    store.save(KEY, outage(pause=0.05))
    assert store.load(KEY) is not None
    eventually(lambda: store.load(KEY) is None)


def test_an_entry_stays_as_long_as_its_token_and_its_failures() -> None:
    store = MemoryStore()
    store.save(KEY, join(token(), outage(pause=0.0)))
    store.save(OTHER, join(token(lifetime=0.0), outage(pause=60.0)))
    assert store.load(KEY) is not None
    assert store.load(OTHER) is not None


@pytest.mark.parametrize(
    "lasting", [Entry.of_revocation(7), Entry(login=Login("refresh", 7))], ids=["revoked", "login"]
)
def test_a_revocation_and_a_login_outlast_tokens_and_failures(lasting: Entry) -> None:  # S41
    store = MemoryStore()
    short = join(join(token(lifetime=0.05), outage(pause=0.05)), lasting)
    store.save(KEY, short)
    eventually(lambda: time.time() > max(each.until for each in short.failures))
    held = store.load(KEY)
    assert held is not None
    assert content(held) == content(short)


def test_saving_an_expired_token_removes_the_earlier_one() -> None:
    store = MemoryStore()
    store.save(KEY, token("earlier"))
    at = clock.now()
    late = issued(at, value="late", lifetime=0.0, generation=int(at.wall) + 1)
    joined = store.save(KEY, Entry.of_token(late))
    assert joined.token == late
    assert store.load(KEY) is None


# -- claims ----------------------------------------------------------------------------------------


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock since boot, which stands still until a test moves it."""
    reading = [1000.0]
    monkeypatch.setattr(clock, "_since_boot", lambda: reading[0])
    return reading


def test_the_first_of_many_claims_counts_until_it_ends(  # S33
    boot: list[float],
) -> None:
    store = MemoryStore()
    assert store.claim(KEY, seconds=60)
    boot[0] += 59.9
    assert not store.claim(KEY, seconds=60)
    boot[0] += 0.1
    assert store.claim(KEY, seconds=60)


@pytest.mark.usefixtures("boot")
def test_claims_of_identities_are_independent() -> None:  # S33, S49
    store = MemoryStore()
    assert store.claim(KEY, seconds=60)
    assert store.claim(OTHER, seconds=60)


def test_each_claim_has_its_own_duration(boot: list[float]) -> None:
    store = MemoryStore()
    assert store.claim(KEY, seconds=600)
    assert store.claim(OTHER, seconds=1)
    boot[0] += 2
    assert not store.claim(KEY, seconds=1)
    assert store.claim(OTHER, seconds=1)


# -- locks -----------------------------------------------------------------------------------------


def test_unused_locks_are_dropped() -> None:
    store = MemoryStore()
    for number in range(100):
        with store.lock(replace(KEY, username=str(number)), timeout=0) as hold:
            assert hold is Hold.HELD
    assert len(store._locks) == 0


def test_a_wait_may_be_infinite() -> None:
    with MemoryStore().lock(KEY, timeout=math.inf) as hold:
        assert hold is Hold.HELD


def test_a_reentrant_call_does_not_deadlock() -> None:
    # like a signal handler that requests a token in the middle of a change
    store, entries = MemoryStore(), list[object]()

    def interrupted() -> None:
        with store._guard:
            store.save(KEY, token())
            entries.append(store.load(KEY))

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(BOUND)
    assert len(entries) == 1


def test_a_child_keeps_the_entries_and_none_of_the_locks() -> None:  # F2
    store = MemoryStore()
    store.save(KEY, token())
    with store.lock(KEY, timeout=0):
        store.renew_in_child()
        with store.lock(KEY, timeout=0) as hold:
            assert hold is Hold.HELD
    assert store.load(KEY) is not None


def test_a_child_forked_during_a_change_starts_empty(boot: list[float]) -> None:  # F2
    store = MemoryStore()
    store.save(KEY, token())
    assert store.claim(KEY, seconds=boot[0])
    inside, over = threading.Event(), threading.Event()

    def change() -> None:
        with store._guard:
            inside.set()
            over.wait(BOUND)

    thread = threading.Thread(target=change, daemon=True)
    thread.start()
    assert inside.wait(BOUND)
    store.renew_in_child()
    assert store.load(KEY) is None
    assert store.claim(KEY, seconds=60)
    own = token("its own")
    store.save(KEY, own)
    assert store.load(KEY) == own
    over.set()
    thread.join(BOUND)


def test_identities_are_compared_by_value() -> None:
    store = MemoryStore()
    store.save(TokenKey("url", "client"), token())
    assert store.load(TokenKey("url", "client")) is not None
