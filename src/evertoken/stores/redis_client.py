"""A Redis client of the store's own, like the user's: short timeouts, no retries, plain bytes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from redis import ConnectionPool, Redis, RedisCluster, RedisError, ResponseError, SSLConnection
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from evertoken.runtime import process
from evertoken.stores.link import Link, Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOCKET_SHARE = 0.8
"""A socket waits for so much of an operation's time, so that it has ended when that has."""

_PLUMBING = frozenset(
    {
        "cache",
        "cache_config",
        "connection_pool",
        "event_dispatcher",
        "health_check_interval",
        "himport_registry",
        "maint_notifications_pool_handler",
        "maintenance_notification_hash",
        "maintenance_state",
        "orig_host_address",
        "orig_socket_connect_timeout",
        "orig_socket_timeout",
        "oss_cluster_maint_notifications_handler",
        "retry_on_timeout",
    }
)
"""What belongs to the user's pool and its retries, not to how a server is reached."""

Options = dict[str, Any]
"""Options of connections, which redis-py itself passes on untyped."""


class Client(Protocol):
    """What the store needs of a client."""

    def execute_command(self, *args: str | bytes | int) -> object:
        """The server's answer."""


class Server:
    """A Redis server, asked one command at a time: each bounded in time, none raising.

    Args:
        source: as in `maker`, and so are the errors raised.
        timeout: seconds that a command takes at most; the first one, twice that.
    """

    def __init__(self, source: Redis | RedisCluster | str, *, timeout: float) -> None:
        self._make = maker(source, timeout=timeout)
        self._link = Link(
            "Redis", timeout=timeout, refusals=(ResponseError,), quotable=(RedisError, OSError)
        )
        self._client: Client | None = None
        self._inherited: list[Client | None] = []
        process.register(self)

    def renew_in_child(self) -> None:
        """Connect anew: the parent's connections are its own."""
        self._link.renew_in_child()
        # kept, since its destructor takes locks that a thread of the parent may have held
        self._inherited.append(self._client)
        self._client = None

    def ask(self, purpose: str, *command: str | bytes | int) -> object | Lost:
        """The answer to `command`, which does what `purpose` says."""
        return self._link.call(purpose, lambda: self._connected().execute_command(*command))

    @property
    def trouble(self) -> str | None:
        """Why it is not used for now, without a secret; None: it is."""
        return self._link.trouble

    def _connected(self) -> Client:
        # within the bounds of a call, since a client of a cluster explores it when it is made
        if self._client is None:
            self._client = self._make()
        return self._client


def maker(source: Redis | RedisCluster | str, *, timeout: float) -> Callable[[], Client]:
    """Makes clients that reach the same server as `source`, a client or a URL, does.

    `source` keeps its settings and its connections. Calling the maker may connect (a cluster is
    explored), and raises what redis-py raises.

    Args:
        source: for Sentinel, what `Sentinel.master_for` returns.
        timeout: seconds for which an operation lasts.

    Raises:
        TypeError: `source` is neither, or an asyncio client.
        ValueError: a URL of which redis-py cannot use a parameter; the parameter is named.
    """
    if isinstance(source, str):
        source = Redis.from_url(source)
    if isinstance(source, RedisCluster):
        return partial(_of_cluster, source, timeout * SOCKET_SHARE)
    if isinstance(source, Redis):
        return partial(_of_single, source, timeout * SOCKET_SHARE)
    raise TypeError(
        "RedisStore takes a redis.Redis, a redis.RedisCluster, what Sentinel.master_for returns, "
        f"or a URL, not {type(source).__name__}"
    )


def _of_single(source: Redis, wait: float) -> Redis:
    return Redis(connection_pool=_pool(source.connection_pool, wait))


def _pool(pool: ConnectionPool, wait: float) -> ConnectionPool:
    options = _quick(pool.connection_kwargs, wait)
    options["connection_class"] = pool.connection_class
    if not isinstance(pool, SentinelConnectionPool):
        return ConnectionPool(**options)
    sentinel = _sentinel(pool.sentinel_manager, wait)
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]  # redis-py has no types here
        pool.service_name, sentinel, is_master=pool.is_master, **options
    )


def _sentinel(sentinel: Sentinel, wait: float) -> Sentinel:
    own = Sentinel(  # type: ignore[no-untyped-call]  # likewise
        [],
        min_other_sentinels=sentinel.min_other_sentinels,
        # it has no public name
        force_master_ip=getattr(sentinel, "_force_master_ip", None),
    )
    own.sentinels = [_of_single(each, wait) for each in sentinel.sentinels]
    return own


def _of_cluster(source: RedisCluster, wait: float) -> RedisCluster:
    explored = source.nodes_manager
    nodes = explored.nodes_cache or explored.startup_nodes
    return RedisCluster(
        startup_nodes=[
            ClusterNode(node.host, node.port)  # type: ignore[no-untyped-call]  # likewise
            for node in tuple(nodes.values())
        ],
        require_full_coverage=False,
        address_remap=explored.address_remap,
        redis_connect_func=source.user_on_connect_func,
        **_for_nodes(_quick(explored.connection_kwargs, wait)),
    )


def _for_nodes(options: Options) -> Options:
    """`options` as a cluster client takes them that is made from nodes, not from a URL."""
    own = {"host", "port", "db", "redis_connect_func", "connection_class"}
    kept = {name: value for name, value in options.items() if name not in own}
    # of a rediss:// URL, only the class of its connections is left
    if options.get("connection_class") is SSLConnection:
        kept["ssl"] = True
    return kept


def _quick(given: Mapping[str, object], wait: float) -> Options:
    """The connection options in `given`, without what would make an operation last longer."""
    return {
        **{name: value for name, value in given.items() if name not in _PLUMBING},
        "socket_timeout": wait,
        "socket_connect_timeout": wait,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "decode_responses": False,
        # two commands less per connection, and no search for redis-py's own version
        "driver_info": None,
        # during a maintenance they would stretch the timeouts
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
