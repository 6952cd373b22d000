"""The MCP SDK's `OAuthClientProvider`, an auth of httpx2, with a login that a process keeps."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

CALLBACK = "https://app.example/callback"
"""Where a browser would return to; no browser is needed while the refresh token lives."""


def provider(
    token_url: str, client_id: str, client_secret: str, token: dict[str, object], *, api: str
) -> Any:
    """The provider, as if it had just logged in and got `token`."""
    from mcp.client.auth import OAuthClientProvider  # noqa: PLC0415  a peer may not be installed
    from mcp.shared import auth  # noqa: PLC0415  likewise

    # each failed call would print a traceback
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    known = auth.OAuthToken.model_validate(token)
    client = {
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_post",
    }
    own = auth.OAuthClientInformationFull.model_validate(
        client | {"client_id": client_id, "client_secret": client_secret}
    )

    class Storage:
        """What the SDK loads once, and saves to."""

        async def get_tokens(self) -> auth.OAuthToken:
            return known

        async def set_tokens(self, tokens: auth.OAuthToken) -> None:
            nonlocal known
            known = tokens

        async def get_client_info(self) -> auth.OAuthClientInformationFull:
            return own

        async def set_client_info(self, client_info: auth.OAuthClientInformationFull) -> None:
            del client_info

    made = OAuthClientProvider(api, auth.OAuthClientMetadata.model_validate(client), Storage())
    made.context.oauth_metadata = auth.OAuthMetadata.model_validate(
        {
            "issuer": token_url,
            "authorization_endpoint": token_url,
            "token_endpoint": token_url,
            "response_types_supported": ["code"],
        }
    )
    # a token from the storage has no end for it: it would be sent until a browser had to open
    made.context.update_token_expiry(known)
    return made


class Session:
    """A client with `get()`, as requests has it, that runs a loop for each call."""

    def __init__(self, auth: Any) -> None:
        import httpx2  # noqa: PLC0415  a peer may not be installed

        self._loop = asyncio.new_event_loop()
        self._client = httpx2.AsyncClient(auth=auth)

    def get(self, url: str, timeout: float) -> Any:
        """The response."""
        return self._loop.run_until_complete(self._client.get(url, timeout=timeout))
