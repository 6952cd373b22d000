"""The store's own Redis client, made from the user's: short timeouts, no retries, plain bytes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from redis import (
    ConnectionPool,
    ReadOnlyError,
    Redis,
    RedisCluster,
    RedisError,
    ResponseError,
    SSLConnection,
)
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from evertoken.runtime import process
from evertoken.stores.circuit_breaker import CircuitBreaker, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOCKET_SHARE = 0.8
"""Share of a command's timeout that a socket waits, so that the socket gives up first."""

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
"""Options of the user's pool and its retries, which do not say how the server is reached."""

Options = dict[str, Any]
"""Connection options; redis-py has no types for them."""


class Client(Protocol):
    """The part of a client that the store needs."""

    def execute_command(self, *args: str | bytes | int) -> object:
        """The server's answer."""


class Server:
    """Sends commands to a Redis server. Each is bounded in time, and none raises.

    Args:
        source: as in `maker`, which also lists the errors.
        timeout: seconds that a command takes at most; twice that until the first answer.
    """

    def __init__(self, source: Redis | RedisCluster | str, *, timeout: float) -> None:
        self._make = maker(source, timeout=timeout)
        self._breaker = CircuitBreaker(
            "Redis", timeout=timeout, refusals=(ResponseError,), quotable=(RedisError, OSError)
        )
        self._client: Client | None = None
        self._inherited: list[Client | None] = []
        process.register(self)

    def renew_in_child(self) -> None:
        """Drop the client: its connections belong to the parent."""
        self._breaker.renew_in_child()
        # Kept alive: its destructor takes locks that a thread of the parent may have held.
        self._inherited.append(self._client)
        self._client = None

    def ask(self, purpose: str, *command: str | bytes | int) -> object | NoAnswer:
        """The answer to `command`; `purpose` names it when a refusal is logged."""
        return self._breaker.call(purpose, lambda: self._executed(command))

    @property
    def trouble(self) -> str | None:
        """Why the server is not used at present, without secrets; None if it is used."""
        return self._breaker.trouble

    def _executed(self, command: tuple[str | bytes | int, ...]) -> object:
        try:
            return self._connected().execute_command(*command)
        except ResponseError as error:
            # an error of a script has it in its text
            if isinstance(error, ReadOnlyError) or "READONLY" in str(error):
                # A master that became a replica keeps its connections: only a new one finds the
                # master to which its name leads now.
                self._client = None
            raise

    def _connected(self) -> Client:
        # inside a bounded call, since a cluster client discovers the cluster when it is made
        if self._client is None:
            self._client = self._make()
        return self._client


def maker(source: Redis | RedisCluster | str, *, timeout: float) -> Callable[[], Client]:
    """Return a function that makes clients for the server of `source`, a client or a URL.

    `source` itself is not changed. Making a client may connect (to discover a cluster), and may
    raise redis-py's errors.

    Args:
        source: for Sentinel, the result of `Sentinel.master_for`.
        timeout: seconds that a command takes at most.

    Raises:
        TypeError: `source` is neither, or is an asyncio client.
        ValueError: redis-py does not accept a parameter of the URL; the error names it.
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
        # not public
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
    """`options` for a cluster client that is made from nodes, not from a URL."""
    own = {"host", "port", "db", "redis_connect_func", "connection_class"}
    kept = {name: value for name, value in options.items() if name not in own}
    # only the connection class shows that the URL was rediss://
    if options.get("connection_class") is SSLConnection:
        kept["ssl"] = True
    return kept


def _quick(given: Mapping[str, object], wait: float) -> Options:
    """The connection options in `given`, without those that make a command take longer."""
    return {
        **{name: value for name, value in given.items() if name not in _PLUMBING},
        "socket_timeout": wait,
        "socket_connect_timeout": wait,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "decode_responses": False,
        # saves two commands per connection, and the lookup of redis-py's version
        "driver_info": None,
        # these would extend the timeouts during a maintenance
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
