"""`cachetools.TTLCache` over a function that asks for a token, one caller at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cachetools import TTLCache, cached

from benchmarks.peers.peer import HEADER, IN_MEMORY, Standard, password_grant

if TYPE_CHECKING:
    from requests import PreparedRequest

    from benchmarks.peers.peer import Auth, Site


class CachetoolsTTL(Standard):
    """`@cached` with a condition, which makes concurrent callers wait for the first."""

    title = "cachetools.TTLCache"
    packages = ("cachetools",)
    statement = "import requests, cachetools"
    unable_to_share = IN_MEMORY

    def open(self, site: Site) -> Auth:
        """Decorate the grant; the lifetime has to be known in advance."""
        cache: TTLCache[object, str] = TTLCache(maxsize=1, ttl=site.expires_in)

        @cached(cache, condition=threading.Condition())
        def header() -> str:
            return f"Bearer {password_grant(site)['access_token']}"

        def sign(request: PreparedRequest) -> PreparedRequest:
            request.headers[HEADER] = header()
            return request

        return sign


PEER = CachetoolsTTL()
