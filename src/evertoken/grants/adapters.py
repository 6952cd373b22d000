"""The adapters of `requests`, a user's own too, for one exchange that is held to a deadline."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from evertoken.grants.connection import watched

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from requests import PreparedRequest
    from requests.adapters import BaseAdapter
    from urllib3.connectionpool import HTTPConnectionPool

    from evertoken.grants.watch import Watch


@contextmanager
def watching(adapter: BaseAdapter, watch: Watch) -> Iterator[BaseAdapter]:
    """`adapter` for one exchange: held to the deadline of `watch`, without retries.

    It may be a user's own, and be used elsewhere meanwhile: it does not change, and none of its
    connections is used. Of a `BaseAdapter` that is not an `HTTPAdapter` only the reading of the
    body is bounded, and each wait by the timeout that it is given.
    """
    if not isinstance(adapter, HTTPAdapter):
        # it does not say when it sends
        watch.sent = True
        yield adapter
        return
    kind: type[_WatchedAdapter] = type("Watched", (_WatchedAdapter, type(adapter)), {})
    bounded = kind.__new__(kind)
    # not by copy(): it leaves out what a subclass has added
    vars(bounded).update(vars(adapter), max_retries=Retry(0, read=False), watch=watch, pools=[])
    try:
        yield bounded
    finally:
        for pool in bounded.pools:
            pool.close()


class _WatchedAdapter(HTTPAdapter):
    watch: Watch
    pools: list[HTTPConnectionPool]

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,
        verify: bool | str,  # noqa: FBT001  as requests declares it
        proxies: dict[str, str] | None = None,
        cert: str | tuple[str, str] | None = None,
    ) -> HTTPConnectionPool:
        """As the adapter has it, with a connection of the kind below in a pool of its own."""
        shared = super().get_connection_with_tls_context(request, verify, proxies, cert)
        pool = copy.copy(shared)
        pool.pool = pool.QueueCls(1)
        pool.pool.put(None)
        pool.ConnectionCls = watched(shared.ConnectionCls, self.watch)
        self.pools.append(pool)
        return pool


class ContextAdapter(HTTPAdapter):
    """An adapter that uses an `ssl.SSLContext` as it is: nothing is loaded into it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def build_connection_pool_key_attributes(
        self,
        request: PreparedRequest,
        verify: bool | str,  # noqa: FBT001  as requests declares it
        cert: str | tuple[str, str] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As `requests` has it, but for what the context says."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}

    def cert_verify(self, *_settings: object) -> None:
        """Nothing: it would load the certificates of `certifi` into the context."""
