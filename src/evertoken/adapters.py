"""Names the replacement for `BearerAuth` in HTTP clients other than `requests`."""

from __future__ import annotations

_ADAPTERS = {
    "httpx": "evertoken.clients.httpx.BearerAuth",
    "httpx2": "evertoken.clients.httpx2.BearerAuth",
    "aiohttp": "evertoken.clients.aiohttp.bearer_auth",
}


def wrong_client(request: object) -> TypeError:
    """The error for a `request` of another HTTP client than `requests`; names its adapter."""
    client = type(request).__module__.partition(".")[0]
    adapter = _ADAPTERS.get(client)
    remedy = "" if adapter is None else f"use {adapter}, or "
    return TypeError(
        f"evertoken.BearerAuth is for requests, not for {client}: {remedy}set the Authorization "
        "header to manager.header()"
    )
