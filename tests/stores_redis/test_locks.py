"""The lock in a Valkey server: a lease, released only by its owner, and polled slowly."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet

from evertoken.core.entry import Entry
from evertoken.core.hold import Hold
from evertoken.core.login import Login
from evertoken.runtime import clock
from evertoken.stores.redis import RedisStore
from evertoken.stores.redis_lock import FIRST_POLL, LONGEST_POLL, SAME_WAIT
from support.fleet import eventually
from support.logs import warned
from support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.token import TokenKey


def lock_of(key: TokenKey) -> str:
    return f"evertoken:{{{key.digest()}}}:lock"


def test_a_lock_has_one_holder(valkey: Valkey, key: TokenKey) -> None:
    store, sibling = RedisStore(valkey.url), RedisStore(valkey.url)
    with store.lock(key, timeout=0) as held:
        assert held is Hold.HELD
        with sibling.lock(key, timeout=0) as second:
            assert second is Hold.BUSY
        assert valkey.client.exists(lock_of(key)), "a failed try must not release it"
    with sibling.lock(key, timeout=0) as held:
        assert held is Hold.HELD


def test_each_identity_has_its_own_lock(valkey: Valkey, key: TokenKey) -> None:
    other = type(key)(key.token_url, key.client_id, "another")
    store = RedisStore(valkey.url)
    with store.lock(key, timeout=0) as one, store.lock(other, timeout=0) as two:
        assert (one, two) == (Hold.HELD, Hold.HELD)


def test_a_waiter_gets_a_released_lock(valkey: Valkey, key: TokenKey) -> None:
    store, sibling = RedisStore(valkey.url), RedisStore(valkey.url)
    got = threading.Event()

    def wait() -> None:
        with sibling.lock(key, timeout=20) as held:
            if held is Hold.HELD:
                got.set()

    with store.lock(key, timeout=0):
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: valkey.commands().get("pttl"))
        assert not got.is_set()
    assert got.wait(20)
    thread.join(20)


def test_a_dead_holders_lock_is_waited_for_until_its_lease_ends(
    valkey: Valkey, key: TokenKey
) -> None:
    valkey.client.set(lock_of(key), "of a dead process", px=600)
    started = time.monotonic()
    with RedisStore(valkey.url).lock(key, timeout=20) as held:
        assert held is Hold.HELD
    assert 0.5 < time.monotonic() - started < 10


def test_the_lease_is_the_configured_one(valkey: Valkey, key: TokenKey) -> None:
    with RedisStore(valkey.url).lock(key, timeout=0):
        assert 30_000 < valkey.client.pttl(lock_of(key)) <= 35_000
    with RedisStore(valkey.url, lease=5).lock(key, timeout=0):
        assert 3_000 < valkey.client.pttl(lock_of(key)) <= 5_000


def test_a_holder_that_outlived_its_lease_does_not_release_the_next_one(  # F27
    valkey: Valkey, key: TokenKey
) -> None:
    late, next_one = RedisStore(valkey.url), RedisStore(valkey.url)
    with next_one.lock(key, timeout=0):
        # as if this lock's lease had ended
        theirs = valkey.client.getdel(lock_of(key))
        with late.lock(key, timeout=0) as held:
            assert held is Hold.HELD
            assert isinstance(theirs, bytes)
            valkey.client.set(lock_of(key), theirs, px=30_000)
        assert valkey.client.get(lock_of(key)) == theirs
    assert not valkey.client.exists(lock_of(key))


def test_a_lease_that_ended_or_was_taken_over_is_no_longer_held(  # F27
    valkey: Valkey, key: TokenKey
) -> None:
    store = RedisStore(valkey.url, timeout=0.2)
    with store.lock(key, timeout=0):
        assert store.still_held(key)
        valkey.client.delete(lock_of(key))
        assert not store.still_held(key)
        valkey.client.set(lock_of(key), "of the next holder", px=30_000)
        assert not store.still_held(key)
    valkey.client.delete(lock_of(key))
    with store.lock(key, timeout=0), valkey.frozen():
        # without an answer nothing is known
        assert not store.still_held(key)


def test_a_forked_child_does_not_hold_the_lock_of_its_parent(valkey: Valkey, key: TokenKey) -> None:
    store = RedisStore(valkey.url)
    with store.lock(key, timeout=0):
        store._locks.renew_in_child()
        assert not store.still_held(key)


def test_a_waiter_tries_less_and_less_often(
    valkey: Valkey, key: TokenKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float | None] = []
    monkeypatch.setattr(threading.Event, "wait", lambda _self, nap=None: naps.append(nap))
    monkeypatch.setattr("evertoken.stores.circuit_breaker._within", lambda call, _seconds: call())
    valkey.client.set(lock_of(key), "held", px=60_000)
    store = RedisStore(valkey.url)
    for _ in range(12):
        # in slices, as a renewal waits: the pause keeps growing across them
        assert store._locks._next_poll(lock_of(key)) >= FIRST_POLL
    with store.lock(key, timeout=0.5) as held:
        assert held is Hold.BUSY
    assert naps == [pytest.approx(0.5, abs=0.1)]
    interval, _ = store._locks._polls.get(lock_of(key)) or (None, None)
    assert interval == LONGEST_POLL
    valkey.client.delete(lock_of(key))
    with store.lock(key, timeout=0) as held:
        assert held is Hold.HELD
    assert store._locks._polls.get(lock_of(key)) is None, (
        "the next wait starts at the shortest interval"
    )


def test_a_process_that_never_gets_the_lock_waits_no_longer_each_time(
    valkey: Valkey, key: TokenKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey.client.set(lock_of(key), "held", px=60_000)
    store, shortest = RedisStore(valkey.url), FIRST_POLL * 1.5
    for _ in range(20):
        # as a renewal tries that can be put off
        with store.lock(key, timeout=0) as held:
            assert held is Hold.BUSY
    assert store._locks._next_poll(lock_of(key)) <= shortest
    for _ in range(20):
        store._locks._next_poll(lock_of(key))
    later = clock.since_boot() + SAME_WAIT + 1
    monkeypatch.setattr(clock, "since_boot", lambda: later)
    assert store._locks._next_poll(lock_of(key)) <= shortest


def test_a_waiter_does_not_flood_the_server(valkey: Valkey, key: TokenKey) -> None:
    valkey.client.set(lock_of(key), "held", px=60_000)
    with RedisStore(valkey.url).lock(key, timeout=1.0) as held:
        assert held is Hold.BUSY
    # pauses of 50, 75, 113, 169, 253, 380 ms fill a second
    assert 3 <= valkey.commands()["pttl"] <= 7


def test_a_key_that_does_not_expire_is_not_a_lock(
    valkey: Valkey, key: TokenKey, caplog: pytest.LogCaptureFixture
) -> None:
    valkey.client.set(lock_of(key), "someone else's")
    store = RedisStore(valkey.url)
    for _ in range(2):
        with store.lock(key, timeout=10) as held:
            assert held is Hold.ABSENT, "nobody should wait for what never ends"
    assert valkey.client.get(lock_of(key)) == b"someone else's"
    assert len(warned(caplog)) == 1


def test_a_lock_taken_by_a_command_without_an_answer_is_released(
    valkey: Valkey, key: TokenKey
) -> None:  # F27
    store = RedisStore(valkey.url, timeout=0.2)
    assert store.load(key) is None
    with valkey.frozen(), store.lock(key, timeout=20) as held:
        assert held is Hold.ABSENT, "it renews alone"
    eventually(lambda: valkey.client.exists(lock_of(key)))
    eventually(lambda: store.load(key) is None and not valkey.client.exists(lock_of(key)))


def test_a_release_without_an_answer_is_repeated(valkey: Valkey, key: TokenKey) -> None:  # F27
    store = RedisStore(valkey.url, timeout=0.2)
    held = store.lock(key, timeout=0)
    with held:
        theirs = valkey.client.get(lock_of(key))
        assert isinstance(theirs, bytes)
        valkey.kill()
    valkey.start()
    valkey.client.set(lock_of(key), theirs, px=60_000)
    eventually(lambda: store.load(key) is None and not valkey.client.exists(lock_of(key)))


def test_all_locks_in_doubt_are_released_at_the_next_contact(valkey: Valkey, key: TokenKey) -> None:
    store = RedisStore(valkey.url, timeout=0.2)
    with valkey.frozen(), store.lock(key, timeout=0):
        store._server._breaker._open_until = 0.0
        with store.lock(key, timeout=0):
            pass
    assert len(store._locks._unsettled) == 2
    eventually(lambda: store.load(key) is None and not store._locks._unsettled)
    assert not valkey.client.exists(lock_of(key))


def test_a_lock_command_that_was_not_sent_leaves_no_doubt(valkey: Valkey, key: TokenKey) -> None:
    store = RedisStore(valkey.url, timeout=0.2)
    with valkey.frozen():
        assert store.load(key) is None
        with store.lock(key, timeout=20) as held:
            assert held is Hold.ABSENT
    assert not store._locks._unsettled


def test_without_an_answer_a_waiter_renews_alone_and_a_single_try_is_put_off(  # F27
    valkey: Valkey, key: TokenKey
) -> None:
    store = RedisStore(valkey.url, timeout=0.2)
    with valkey.frozen():
        for _ in ("it was asked", "it is left alone"):
            with store.lock(key, timeout=0) as held:
                assert held is Hold.BUSY
            with store.lock(key, timeout=0.01) as held:
                assert held is Hold.ABSENT


def test_a_server_that_refuses_is_tried_again_like_an_unreachable_one(
    valkey: Valkey, key: TokenKey
) -> None:
    with Valkey("--replicaof", f"127.0.0.1 {valkey.port}") as demoted:
        store = RedisStore(demoted.url)
        with store.lock(key, timeout=0) as held:
            assert held is Hold.BUSY
        with store.lock(key, timeout=0.01) as held:
            assert held is Hold.ABSENT
        demoted.client.replicaof("NO", "ONE")
        with store.lock(key, timeout=0) as held:
            assert held is Hold.HELD


def test_a_lock_that_is_looked_at_has_its_whole_lease_again(valkey: Valkey, key: TokenKey) -> None:
    store = RedisStore(valkey.url, lease=30)
    with store.lock(key, timeout=0):
        # what a slow load, a pause and a mark took
        valkey.client.pexpire(lock_of(key), 2_000)
        assert store.still_held(key)
        assert 29_000 < int(valkey.client.pttl(lock_of(key))) <= 30_000


def replicate(valkey: Valkey, host: str, port: str) -> None:
    """Make it a replica, which refuses to write, or a primary again."""
    client: Any = valkey.client
    client.execute_command("REPLICAOF", host, port)


def test_a_lock_whose_release_was_refused_is_released_as_soon_as_it_may_be(
    valkey: Valkey, key: TokenKey
) -> None:
    store = RedisStore(valkey.url)
    with store.lock(key, timeout=0) as held:
        assert held is Hold.HELD
        replicate(valkey, "127.0.0.1", "1")
    replicate(valkey, "NO", "ONE")

    store.load(key)
    assert valkey.client.get(lock_of(key)) is None


def test_a_server_that_has_become_a_replica_is_looked_for_again(
    valkey: Valkey, key: TokenKey, issued: Callable[..., Entry]
) -> None:
    store = RedisStore(valkey.url)
    assert store.save(key, issued("first")) is not None
    connections = store._server._client
    replicate(valkey, "127.0.0.1", "1")
    try:
        assert store.save(key, issued("second")) is None
    finally:
        replicate(valkey, "NO", "ONE")

    # its name may lead to another server by now, which only a new connection finds
    assert store.save(key, issued("third")) is not None
    assert store._server._client is not connections


def test_a_login_sealed_with_another_key_is_not_replaced(  # S12
    valkey: Valkey, key: TokenKey
) -> None:
    new, old = (RedisStore(valkey.url, encryption_key=Fernet.generate_key()) for _ in range(2))
    assert new.save(key, Entry(login=Login("newest", 2))) is not None

    assert old.save(key, Entry(login=Login("spent", 1))) is None
    found = new.load(key)
    assert found is not None
    assert found.login is not None
    assert found.login.refresh_token == "newest"
