"""requests-auth: `OAuth2ResourceOwnerPasswordCredentials` over its JSON file cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from requests_auth import JsonTokenFileCache, OAuth2, OAuth2ResourceOwnerPasswordCredentials

from benchmarks.peers.peer import Standard

if TYPE_CHECKING:
    from benchmarks.peers.peer import Auth, Site


class RequestsAuth(Standard):
    """An `auth=` that makes the password grant itself; its cache is one for the whole process."""

    title = "requests-auth"
    packages = ("requests_auth",)
    statement = "from requests_auth import JsonTokenFileCache, OAuth2"
    margin = 30.0

    def open(self, site: Site) -> Auth:
        """Set the cache, then the auth."""
        path = os.path.join(site.directory, "requests-auth.json")
        if str(getattr(OAuth2.token_cache, "_tokens_path", "")) != path:
            OAuth2.token_cache = JsonTokenFileCache(path)
        auth: Auth = OAuth2ResourceOwnerPasswordCredentials(
            site.token_url,
            username=site.username,
            password=site.password,
            session_auth=(site.client_id, site.client_secret),
        )
        return auth


PEER = RequestsAuth()
