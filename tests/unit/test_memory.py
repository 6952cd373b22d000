"""The process's memory as a store, beyond what every store does."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import pytest

from evertoken import MemoryStore, Token, TokenKey, clock
from evertoken.stores.memory import process_wide
from evertoken.token import Mark, Refusal
from support.fleet import BOUND, eventually
from support.values import HOUR, KEY, issued, outage, pickled

OTHER = replace(KEY, username="agent-8")


def token(value: str = "abc", *, lifetime: float = HOUR) -> Token:
    return issued(clock.now(), value=value, lifetime=lifetime)


def test_managers_of_one_process_share_one() -> None:
    assert process_wide() is process_wide()
    assert isinstance(process_wide(), MemoryStore)


@pytest.mark.parametrize("maxsize", [0, -1])
def test_a_store_without_room_is_refused(maxsize: int) -> None:
    with pytest.raises(ValueError, match="maxsize"):
        MemoryStore(maxsize)


def test_beyond_its_room_the_identity_that_was_asked_for_least_recently_leaves() -> None:
    store = MemoryStore(maxsize=2)
    first, second, third = (replace(KEY, username=name) for name in ("one", "two", "three"))
    store.save(first, token())
    store.save(second, token())
    store.load(first)
    store.save(third, token())
    assert [store.load(key) is None for key in (first, second, third)] == [False, True, False]
    assert pickled(store)._maxsize == 2


def test_a_token_leaves_when_it_expires() -> None:
    store = MemoryStore()
    store.save(KEY, token(lifetime=0.05))
    eventually(lambda: store.load(KEY) is None)


def test_a_refusal_stays_for_as_long_as_the_token_that_it_carries() -> None:
    store, live = MemoryStore(), token()
    now = clock.now()
    store.save(KEY, outage(now, pause=0.0, token=live))
    store.save(OTHER, outage(now, pause=0.0))
    assert isinstance(store.load(KEY), Refusal)
    assert store.load(OTHER) is None


def test_a_mark_outlasts_the_refusal_that_bears_it() -> None:  # S41
    store, live = MemoryStore(), token()
    store.save(KEY, outage(clock.now(), pause=0.05, token=live))
    store.forget(KEY, live)
    marked = store.load(KEY)
    assert isinstance(marked, Refusal)
    eventually(lambda: time.time() > marked.until)
    assert store.load(KEY) == marked
    assert marked.forgets == Mark.of(live)


# -- claims ----------------------------------------------------------------------------------------


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock since boot, standing still until a test moves it."""
    reading = [1000.0]
    monkeypatch.setattr(clock, "_since_boot", lambda: reading[0])
    return reading


def test_of_many_claims_the_first_one_counts_until_its_time_is_over(  # S33
    boot: list[float],
) -> None:
    store = MemoryStore()
    assert store.claim(KEY, seconds=60)
    boot[0] += 59.9
    assert not store.claim(KEY, seconds=60)
    boot[0] += 0.1
    assert store.claim(KEY, seconds=60)


@pytest.mark.usefixtures("boot")
def test_claims_of_identities_do_not_meet() -> None:  # S33, S49
    store = MemoryStore()
    assert store.claim(KEY, seconds=60)
    assert store.claim(OTHER, seconds=60)


def test_each_claim_has_a_time_of_its_own(boot: list[float]) -> None:
    store = MemoryStore()
    assert store.claim(KEY, seconds=600)
    assert store.claim(OTHER, seconds=1)
    boot[0] += 2
    assert not store.claim(KEY, seconds=1)
    assert store.claim(OTHER, seconds=1)


# -- locks -----------------------------------------------------------------------------------------


def test_no_lock_is_kept_that_nobody_uses() -> None:
    store = MemoryStore()
    for number in range(100):
        with store.lock(replace(KEY, username=str(number)), timeout=0) as held:
            assert held
    assert len(store._locks) == 0


def test_a_wait_may_be_without_end() -> None:
    with MemoryStore().lock(KEY, timeout=math.inf) as held:
        assert held


def test_who_interrupts_itself_does_not_wait_for_itself() -> None:
    # as a signal handler does, which asks for a token in the middle of a change
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
        with store.lock(KEY, timeout=0) as held:
            assert held
    assert store.load(KEY) is not None


def test_a_child_forked_amid_a_change_starts_empty(boot: list[float]) -> None:  # F2
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


def test_identities_are_told_apart_by_value() -> None:
    store = MemoryStore()
    store.save(TokenKey("url", "client"), token())
    assert store.load(TokenKey("url", "client")) is not None
