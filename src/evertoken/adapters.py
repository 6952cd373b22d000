"""Names the right auth for an HTTP client that was given the auth of another one."""

from __future__ import annotations

_AUTHS = {
    "requests": "evertoken.BearerAuth",
    "httpx": "evertoken.clients.httpx.BearerAuth",
    "httpx2": "evertoken.clients.httpx2.BearerAuth",
    "aiohttp": "evertoken.clients.aiohttp.bearer_auth",
    "niquests": "evertoken.clients.niquests.BearerAuth",
}


def wrong_client(request: object, ours: str = "requests") -> TypeError:
    """The error for a `request` of another HTTP client than `ours`; names the auth for it."""
    client = type(request).__module__.partition(".")[0]
    right = _AUTHS.get(client)
    remedy = "" if right is None else f"use {right}, or "
    return TypeError(
        f"{_AUTHS[ours]} is for {ours}, not for {client}: {remedy}set the Authorization header to "
        "manager.header()"
    )
