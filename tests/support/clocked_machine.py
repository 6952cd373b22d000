"""A process that simulates a machine with a wrong clock, and makes calls on demand."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import requests

from evertoken import BearerAuth, PasswordGrant, TokenManager
from evertoken.runtime import clock
from evertoken.stores.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from evertoken.testing import TokenServer

_auths: list[BearerAuth] = []


class Machine:
    """A process with its own boot id, whose wall clock is `ahead` seconds off."""

    def __init__(self, ahead: float, server: TokenServer, redis_url: str) -> None:
        names = ("token_url", "client_id", "client_secret", "username", "password")
        options = {name: getattr(server, name) for name in names}
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, _become, (ahead, options, redis_url))

    def call(self, url: str) -> int:
        """Call the API, and return the status."""
        return self._pool.submit(_call, url).result(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()


def _become(ahead: float, options: Mapping[str, Any], redis_url: str) -> None:
    honest = time.time
    setattr(time, "time", lambda: honest() + ahead)  # noqa: B010  a module is not assigned to
    setattr(clock, "boot_id", lambda: f"boot {ahead}")  # noqa: B010  likewise
    store = RedisStore(redis_url, recheck=0.2)
    _auths.append(BearerAuth(TokenManager(PasswordGrant(**options), store=store)))


def _call(url: str) -> int:
    return requests.get(url, auth=_auths[0], timeout=20).status_code
