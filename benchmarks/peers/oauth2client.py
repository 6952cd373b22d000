"""requests-oauth2client: `OAuth2ResourceOwnerPasswordAuth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from requests_oauth2client import OAuth2Client, OAuth2ResourceOwnerPasswordAuth

from benchmarks.peers.peer import IN_MEMORY, Standard

if TYPE_CHECKING:
    from benchmarks.peers.peer import Auth, Site


class RequestsOAuth2Client(Standard):
    """An `auth=` that makes the password grant itself."""

    title = "requests-oauth2client"
    packages = ("requests-oauth2client",)
    statement = "from requests_oauth2client import OAuth2Client, OAuth2ResourceOwnerPasswordAuth"
    margin = 20.0
    unable_to_share = IN_MEMORY

    def open(self, site: Site) -> Auth:
        """A client, and the auth on top of it."""
        # testing=True: it refuses http:// even on loopback
        client = OAuth2Client(
            site.token_url, client_id=site.client_id, client_secret=site.client_secret, testing=True
        )
        auth: Auth = OAuth2ResourceOwnerPasswordAuth(
            client, username=site.username, password=site.password
        )
        return auth


PEER = RequestsOAuth2Client()
