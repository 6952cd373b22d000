"""What another HTTP client than `requests` needs in place of `BearerAuth`."""

from __future__ import annotations

_ADAPTERS = {
    "httpx": "evertoken.clients.httpx.BearerAuth",
    "httpx2": "evertoken.clients.httpx2.BearerAuth",
    "aiohttp": "evertoken.clients.aiohttp.bearer_auth",
}


def wrong_client(request: object) -> TypeError:
    """The error to raise where `request` is not one of `requests`; names the right adapter."""
    client = type(request).__module__.partition(".")[0]
    adapter = _ADAPTERS.get(client)
    remedy = "" if adapter is None else f"use {adapter}, or "
    return TypeError(
        f"evertoken.BearerAuth is for requests, not for {client}: {remedy}set the Authorization "
        "header to manager.header()"
    )
