"""requests-oauthlib: `OAuth2Session` with automatic refresh."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import requests
from oauthlib.oauth2 import LegacyApplicationClient
from requests_oauthlib import OAuth2Session

from benchmarks.peers.peer import HEADER, IN_MEMORY, Standard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import PreparedRequest

    from benchmarks.peers.peer import Auth, Site

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # it refuses http:// even on loopback


class Unsent(requests.Session):
    """Sends token requests, and hands back the headers of all others."""

    token_url = ""

    def request(self, method: str, url: str, **options: Any) -> Any:  # type: ignore[override]  # the headers are the result
        """Only what reaches the token endpoint is sent."""
        if url == self.token_url:
            return super().request(method, url, **options)
        return options["headers"]


class Session(OAuth2Session, Unsent):  # type: ignore[misc]  # oauthlib has no types
    """The session of the library over one that stops before the network."""


class RequestsOAuthlib(Standard):
    """The first token is fetched by the application, the others by their refresh token."""

    title = "requests-oauthlib"
    packages = ("requests-oauthlib", "oauthlib")
    statement = "from requests_oauthlib import OAuth2Session"
    refreshes = True
    unable_to_share = IN_MEMORY

    def open(self, site: Site) -> Auth:
        """Set `auto_refresh_url` and `token_updater`, as "Refreshing tokens" says."""
        make: Callable[..., Session] = Session
        extra = {"client_id": site.client_id, "client_secret": site.client_secret}
        session = make(
            client=LegacyApplicationClient(client_id=site.client_id),
            auto_refresh_url=site.token_url,
            auto_refresh_kwargs=extra,
            token_updater=lambda _: None,
        )
        session.token_url = site.token_url
        send: Callable[..., Mapping[str, str]] = session.request
        login = {"username": site.username, "password": site.password}

        def sign(request: PreparedRequest) -> PreparedRequest:
            if not session.token:
                session.fetch_token(
                    site.token_url, client_secret=site.client_secret, timeout=10, **login
                )
            headers = send(request.method, request.url, headers=request.headers, timeout=10)
            request.headers[HEADER] = headers[HEADER]
            return request

        return sign


PEER = RequestsOAuthlib()
