"""Authlib: `OAuth2Session` and its `token_auth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authlib.integrations.requests_client import OAuth2Session

from benchmarks.peers.peer import IN_MEMORY, Standard

if TYPE_CHECKING:
    from requests import PreparedRequest

    from benchmarks.peers.peer import Auth, Site


class Authlib(Standard):
    """The first token is fetched by the application, the others by their refresh token."""

    title = "Authlib"
    packages = ("Authlib",)
    statement = "from authlib.integrations.requests_client import OAuth2Session"
    margin = 60.0
    refreshes = True
    unable_to_share = IN_MEMORY

    def open(self, site: Site) -> Auth:
        """Name the token endpoint, which turns automatic refresh on."""
        session = OAuth2Session(
            site.client_id,
            site.client_secret,
            token_endpoint=site.token_url,
            token_endpoint_auth_method="client_secret_post",
            default_timeout=10,
        )

        def sign(request: PreparedRequest) -> PreparedRequest:
            if not session.token:
                session.fetch_token(username=site.username, password=site.password)
            signed: PreparedRequest = session.token_auth(request)
            return signed

        return sign


PEER = Authlib()
