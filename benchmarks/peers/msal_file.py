"""msal: `acquire_token_for_client` over the file cache of msal-extensions."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msal
import requests
from msal_extensions import FilePersistence, PersistedTokenCache

from benchmarks.peers.peer import HEADER, Standard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest

    from benchmarks.peers.peer import Auth, Site

AUTHORITY = "https://login.example.com/tenant"


@dataclass
class Page:
    """An answer as the library reads it."""

    text: str
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Loopback:
    """Its `http_client`: the discovery document from here, token requests to loopback.

    The library takes https:// authorities alone.
    """

    def __init__(self, token_url: str) -> None:
        self.token_url = token_url
        self.session = requests.Session()

    def get(self, url: str, **_: object) -> Page:
        """The discovery document."""
        assert url.startswith(AUTHORITY)
        urls = {f"{name}_endpoint": f"{AUTHORITY}/{name}" for name in ("authorization", "token")}
        return Page(json.dumps({"issuer": AUTHORITY, **urls}))

    def post(
        self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], **_: object
    ) -> Page:
        """A token response."""
        assert url.startswith(AUTHORITY)
        answer = self.session.post(self.token_url, data=data, headers=dict(headers), timeout=10)
        return Page(answer.text, answer.status_code, answer.headers)

    def close(self) -> None:
        """Close the connection."""
        self.session.close()


class Msal(Standard):
    """A confidential client: its password is the client secret.

    The user's own password it takes as well, but then it asks Microsoft's server for the realm.
    """

    title = "msal"
    packages = ("msal", "msal-extensions")
    statement = "import msal, msal_extensions"
    margin = 300.0

    def open(self, site: Site) -> Auth:
        """One application, one cache file; the token is asked for before each request."""
        path = os.path.join(site.directory, f"msal-{site.username}.bin")
        app = msal.ConfidentialClientApplication(
            site.client_id,
            client_credential=site.password,
            oidc_authority=AUTHORITY,
            http_client=Loopback(site.token_url),
            token_cache=PersistedTokenCache(FilePersistence(path)),
        )

        def sign(request: PreparedRequest) -> PreparedRequest:
            result = app.acquire_token_for_client(["scope"])
            if "access_token" not in result:
                raise requests.RequestException(result.get("error"))
            request.headers[HEADER] = f"Bearer {result['access_token']}"
            return request

        return sign


PEER = Msal()
