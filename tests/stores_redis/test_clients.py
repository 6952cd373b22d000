"""The store's own client, made like the user's: URL, standalone, socket, Sentinel, Cluster."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis.asyncio
import trustme
from cryptography.fernet import Fernet
from redis import BlockingConnectionPool, Redis, RedisCluster, ResponseError, SSLConnection
from redis.sentinel import Sentinel

from evertoken.core.hold import Hold
from evertoken.stores.redis import RedisStore
from evertoken.stores.redis_client import _for_nodes
from support.entries import assert_same, timeless
from support.fleet import eventually
from support.valkey import PASSWORD, Valkey, cluster_of, free_port
from support.valkey_tls import tls_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken.core.entry import Entry
    from evertoken.core.token import TokenKey

    Issued = Callable[..., Entry]


def works(store: RedisStore, key: TokenKey, entry: Entry) -> bool:
    """Whether the store locks, saves, loads and releases."""
    with store.lock(key, timeout=0) as held, store.lock(key, timeout=0) as second:
        saved = store.save(key, entry)
        loaded = store.load(key)
        kept = store.still_held(key)
    with store.lock(key, timeout=0) as again:
        holds = [held, second, again]
    if saved is None or loaded is None or not kept or holds != [Hold.HELD, Hold.BUSY, Hold.HELD]:
        return False
    return timeless(saved) == timeless(loaded) == timeless(entry)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Valkey]:
    with Valkey("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        _cover_all_slots(server)
        yield server


def _cover_all_slots(server: Valkey) -> None:
    server.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    _wait_until_whole(server)


def _wait_until_whole(server: Valkey) -> None:
    eventually(lambda: "cluster_state:ok" in str(server.command("CLUSTER", "INFO")))


def test_a_server_behind_tls(valkey: Valkey, key: TokenKey, issued: Issued, tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    trusted, distrusted = tmp_path / "trusted.pem", tmp_path / "distrusted.pem"
    authority.cert_pem.write_to_path(trusted)
    other.cert_pem.write_to_path(distrusted)
    # the server of the tests knows no TLS
    with tls_before(valkey.port, authority.issue_cert("127.0.0.1")) as port:
        url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs="
        assert works(RedisStore(f"{url}{trusted}"), key, issued("shared"))
        with Redis.from_url(f"{url}{trusted}") as client:
            assert RedisStore(client).load(key) is not None
        assert RedisStore(f"{url}{distrusted}").load(key) is None
    assert RedisStore(valkey.url).load(key) is not None


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_client_of_either_protocol(
    valkey: Valkey, key: TokenKey, issued: Issued, protocol: int
) -> None:
    pool = BlockingConnectionPool.from_url(valkey.url, protocol=protocol, decode_responses=True)
    with Redis(connection_pool=pool) as client:
        assert works(RedisStore(client), key, issued("shared"))
    pool.disconnect()


def test_a_client_on_a_unix_socket(key: TokenKey, issued: Issued, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with Valkey("--unixsocket", path) as server:
        assert works(RedisStore(f"unix://:{server.password}@{path}"), key, issued("shared"))


def test_options_of_a_url_that_would_make_it_slow_are_ignored(
    valkey: Valkey, key: TokenKey
) -> None:
    url = f"{valkey.url}?socket_timeout=60&retry_on_timeout=yes&health_check_interval=1"
    store = RedisStore(url)
    with valkey.frozen():
        started = time.monotonic()
        assert store.load(key) is None
        assert time.monotonic() - started < 0.8


@pytest.mark.parametrize("by_url", [True, False])
def test_a_client_of_a_cluster(
    cluster: Valkey, key: TokenKey, issued: Issued, *, by_url: bool
) -> None:
    _wait_until_whole(cluster)
    cluster.client.flushall()
    client = (
        RedisCluster.from_url(cluster.url)
        if by_url
        else RedisCluster("127.0.0.1", cluster.port, password=cluster.password)
    )
    store = RedisStore(client)
    assert works(store, key, issued("shared"))
    with cluster.frozen():
        started = time.monotonic()
        assert store.load(key) is None
        assert time.monotonic() - started < 0.8
    client.close()


def test_a_cluster_of_three_nodes(key: TokenKey, issued: Issued) -> None:
    keys = [replace(key, username=f"user-{number}") for number in range(12)]
    with cluster_of(3) as nodes:
        store = RedisStore(RedisCluster.from_url(nodes[0].url))
        assert [works(store, each, issued(str(each.username))) for each in keys] == [True] * 12
        assert all(node.client.dbsize() for node in nodes), "each node has its share"


def test_a_cluster_that_is_unreachable_when_the_store_is_made(key: TokenKey) -> None:
    with Valkey("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        _cover_all_slots(server)
        client = RedisCluster("127.0.0.1", server.port, password=server.password)
        server.kill()
        store = RedisStore(client)
        started = time.monotonic()
        assert store.load(key) is None
        assert time.monotonic() - started < 0.8
        client.close()


def test_a_cluster_of_a_tls_url_is_reached_by_tls() -> None:
    # the server of the tests knows no TLS
    given = {"connection_class": SSLConnection, "host": "a", "ssl_ca_certs": "path"}
    assert _for_nodes(given) == {"ssl": True, "ssl_ca_certs": "path"}


def test_a_client_of_sentinel_follows_the_failover(
    key: TokenKey, issued: Issued, tmp_path: Path
) -> None:  # F27
    primary = Valkey()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor fleet 127.0.0.1 {primary.port} 1\nsentinel auth-pass fleet {PASSWORD}\n"
    )
    with (
        primary,
        Valkey("--replicaof", f"127.0.0.1 {primary.port}") as replica,
        Valkey(str(config), "--sentinel", password=None, first=True) as watcher,
    ):
        manager = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
            [("127.0.0.1", watcher.port)], password=PASSWORD
        )
        store = RedisStore(manager.master_for("fleet"))  # type: ignore[no-untyped-call]  # likewise
        eventually(lambda: works(store, key, issued("before")))
        eventually(lambda: _failed_over(watcher))
        eventually(lambda: replica.client.role()[0] == b"master")
        primary.kill()
        eventually(lambda: works(store, key, issued("after")))
        assert replica.client.exists(f"evertoken:{{{key.digest()}}}:token")
        # redis-py 8.0 lacks this method; without the call, 8.1 leaves a socket open
        if hasattr(manager, "close"):
            manager.close()


def _failed_over(watcher: Valkey) -> bool:
    try:
        watcher.command("SENTINEL", "FAILOVER", "fleet")
    except ResponseError:  # it has not yet talked to the replica
        return False
    return True


def test_an_argument_that_is_not_a_client_is_rejected_at_once() -> None:
    with pytest.raises(TypeError, match=r"not Redis|not object"):
        RedisStore(redis.asyncio.Redis())  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(TypeError, match="a URL, not object"):
        RedisStore(object())  # type: ignore[arg-type]  # likewise
    with pytest.raises(ValueError, match="scheme"):
        RedisStore("http://127.0.0.1")


@pytest.mark.parametrize("options", [{"lease": 0.0}, {"timeout": -1.0}, {"recheck": float("nan")}])
def test_seconds_are_above_zero(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        RedisStore("redis://127.0.0.1", **options)  # type: ignore[arg-type]  # each is a float


def test_a_prefix_does_not_choose_the_slot() -> None:
    with pytest.raises(ValueError, match="braces"):
        RedisStore("redis://127.0.0.1", prefix="{app}:")


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "evertoken.stores.redis_client", None)
    with pytest.raises(ImportError, match=r'run pip install -e "\.\[redis\]"'):
        RedisStore("redis://127.0.0.1")


def test_the_configuration_pickles_and_secrets_do_not(  # S46
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    with Valkey(password=None) as server:
        store = RedisStore(server.url, prefix="app:", lease=9)
        store.save(key, issued("shared"))
        copy = pickle.loads(pickle.dumps(store))  # noqa: S301  its own words
        entry = store.load(key)
        assert entry is not None
        assert_same(copy.load(key), entry)
        assert repr(copy) == "<RedisStore 'app:'>"
    for given in (valkey.url, valkey.client, "redis://127.0.0.1?password=planted"):
        with pytest.raises(TypeError, match="make one in each process"):
            pickle.dumps(RedisStore(given))
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(RedisStore("redis://127.0.0.1", encryption_key=Fernet.generate_key()))
