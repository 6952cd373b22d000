"""Redis hung, down, full, forbidden, read-only: bounded, logged once, and no call fails."""  # F27

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from evertoken import MemoryStore, RefreshPolicy, Token, TokenManager
from evertoken.core.entry import Entry
from evertoken.stores.redis import RedisStore
from support.fleet import CountingGrant, eventually
from support.forks import in_child
from support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken import TokenKey

    Issued = Callable[..., Entry]


@pytest.fixture(autouse=True)
def _everything_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def manager(grant: CountingGrant, store: RedisStore, **policy: float) -> TokenManager:
    """A manager as in another process."""
    return TokenManager(grant, store=store, memory=MemoryStore(), policy=RefreshPolicy(**policy))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records if "Redis" in record.getMessage()]


def value_in(store: RedisStore, key: TokenKey) -> str | None:
    """The value of the stored token."""
    entry = store.load(key)
    return None if entry is None or entry.token is None else entry.token.value


def shared(store: RedisStore, key: TokenKey, entry: Entry) -> bool:
    """Whether a token can be saved and loaded."""
    store.save(key, entry)
    return store.load(key) is not None


def asking() -> list[str]:
    """The threads that are calling Redis."""
    return [one.name for one in threading.enumerate() if one.name == "evertoken-store"]


def use(store: RedisStore, key: TokenKey, entry: Entry) -> float:
    """Use the store, and return the seconds of the slowest operation."""
    slowest = 0.0
    with store.lock(key, timeout=20) as held:
        assert held
        operations: list[Callable[[], object]] = [
            partial(store.load, key),
            partial(store.save, key, entry),
            partial(store.save, key, Entry.of_revocation(0)),
        ]
        for operation in operations:
            started = time.monotonic()
            operation()
            slowest = max(slowest, time.monotonic() - started)
    return slowest


def test_a_hung_server_costs_one_timeout_and_opens_the_circuit(
    valkey: Valkey, key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(valkey.url)
    with valkey.frozen():
        started = time.monotonic()
        assert store.load(key) is None
        assert 0.3 < time.monotonic() - started < 0.8
        started = time.monotonic()
        use(store, key, issued("any"))
        assert time.monotonic() - started < 0.2, "it was asked again"
        assert said(caplog) == ["WARNING"]
    eventually(lambda: shared(store, key, issued("back")))
    assert said(caplog) == ["WARNING", "INFO"]


def test_a_server_that_is_down_is_a_miss(
    key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    with Valkey() as server:
        store = RedisStore(server.url)
        store.save(key, issued("before"))
        server.kill()
        assert use(store, key, issued("meanwhile")) < 0.8
        server.start()
        eventually(lambda: shared(store, key, issued("after")))
    assert said(caplog) == ["WARNING", "INFO"]


def test_an_idle_connection_closed_by_the_server_is_not_an_outage(
    valkey: Valkey, key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(valkey.url)
    store.save(key, issued("kept"))
    valkey.client.client_kill_filter(skipme=True, _type="normal")
    assert store.load(key) is not None
    assert said(caplog) == []


def test_a_wrong_password_is_logged_once_and_never_shown(
    valkey: Valkey, key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(f"redis://:planted-password@127.0.0.1:{valkey.port}/0")
    for _ in range(3):
        use(store, key, issued("any"))
    assert said(caplog) == ["WARNING"]
    assert "WRONGPASS" in caplog.text or "invalid" in caplog.text
    assert "planted-password" not in caplog.text
    assert "planted-password" not in repr(store)


def test_a_full_server_refuses_saves_and_still_shares_its_entries(
    key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    with Valkey("--maxmemory-policy", "noeviction") as server:
        store = RedisStore(server.url)
        store.save(key, issued("before", ago=10))
        server.client.config_set("maxmemory", "1")
        for _ in range(2):
            store.save(key, issued("meanwhile"))
            with store.lock(key, timeout=20) as held:
                assert held
        assert value_in(store, key) == "before"
        assert said(caplog) == ["WARNING"]
        server.client.config_set("maxmemory", "0")
        store.save(key, issued("after"))
        with store.lock(key, timeout=20) as held:
            assert held
        assert value_in(store, key) == "after"
    assert said(caplog) == ["WARNING", "INFO"]


def test_a_replica_refuses_saves_and_still_shares_its_entries(
    valkey: Valkey, key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    with Valkey("--replicaof", f"127.0.0.1 {valkey.port}") as replica:
        store = RedisStore(replica.url)
        RedisStore(valkey.url).save(key, issued("of-the-primary", ago=10))
        eventually(lambda: store.load(key))
        use(store, key, issued("refused"))
        use(store, key, issued("refused"))
        assert value_in(store, key) == "of-the-primary"
        assert said(caplog) == ["WARNING"]
        replica.client.replicaof("NO", "ONE")
        use(store, key, issued("taken"))
    assert said(caplog) == ["WARNING", "INFO"]


def test_a_user_without_permission_goes_on_from_memory(
    valkey: Valkey, key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    valkey.client.acl_setuser("guest", enabled=True, passwords=["+guest"], commands=["+ping"])
    store = RedisStore(f"redis://guest:guest@127.0.0.1:{valkey.port}/0")
    use(store, key, issued("any"))
    use(store, key, issued("any"))
    assert said(caplog) == ["WARNING"]


def test_a_manager_without_a_token_waits_for_its_grant_and_one_timeout(valkey: Valkey) -> None:
    grant = CountingGrant()
    store = RedisStore(valkey.url)
    with valkey.frozen():
        started = time.monotonic()
        manager(grant, store).token()
        assert time.monotonic() - started < 1.5
    assert grant.requests == 1


@pytest.mark.slow
def test_an_outage_of_seconds_fails_no_call(valkey: Valkey) -> None:
    grant = CountingGrant(lifetime=4.0)
    store = RedisStore(valkey.url)
    fleet = manager(grant, store)
    fleet.token()
    failures: list[BaseException] = []
    waits: dict[bool, list[float]] = {True: [0.0], False: [0.0]}
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.002):
            usable = fleet.status().seconds_left > 0
            started = time.monotonic()
            try:
                fleet.token()
            except Exception as error:  # noqa: BLE001  it is the result
                failures.append(error)
            waits[usable].append(time.monotonic() - started)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    with valkey.frozen():
        time.sleep(
            12
        )  # longer than a poll interval and three lifetimes: each token is granted separately
    over.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert grant.requests >= 2
    assert max(waits[False]) < 1.5
    # 20 ms; waiting for Redis would take 500 ms
    assert max(waits[True]) < 0.3


def test_a_sibling_adopts_once_redis_is_back(valkey: Valkey) -> None:
    grant = CountingGrant()
    store, sibling = RedisStore(valkey.url), RedisStore(valkey.url)
    with valkey.frozen():
        manager(grant, store).token()
    assert grant.requests == 1
    eventually(lambda: store.load(grant.key) is None and not store._server._breaker._pause)
    one = manager(grant, store, refresh_before=0).refresh()
    eventually(lambda: sibling.load(grant.key))
    assert manager(grant, sibling).token().value == one.value
    assert grant.requests == 2


def test_a_forked_child_has_connections_of_its_own(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    store = RedisStore(valkey.url)
    store.save(key, issued("of-the-parent"))
    client = store._server._client

    def look() -> tuple[bool, bool]:
        return store.load(key) is not None, store._server._client is client

    assert in_child(look) == [True, False]
    assert store.load(key) is not None
    assert store._server._client is client


def test_what_a_child_does_after_a_fork(valkey: Valkey, key: TokenKey) -> None:
    store = RedisStore(valkey.url, timeout=0.2)
    with valkey.frozen(), store.lock(key, timeout=0):
        pass
    client = store._server._client
    store._locks.renew_in_child()
    store._server.renew_in_child()
    assert not store._locks._unsettled, "what the parent may hold is the parent's"
    own = Entry.of_token(Token("own", time.time(), time.time() + 60))
    eventually(lambda: shared(store, key, own))
    assert store._server._client is not client


def test_the_users_client_keeps_its_settings(valkey: Valkey, key: TokenKey) -> None:
    client = Redis(
        host="127.0.0.1",
        port=valkey.port,
        password=valkey.password,
        decode_responses=True,
        socket_timeout=77,
    )
    before = dict(client.connection_pool.connection_kwargs)
    store = RedisStore(client)
    with valkey.frozen():
        started = time.monotonic()
        assert store.load(key) is None
        assert time.monotonic() - started < 0.8
        # redis-py's own retries would continue for seconds after the caller's timeout
        eventually(lambda: not asking(), within=2)
    assert client.connection_pool.connection_kwargs == before
    assert client.ping()
    client.close()
