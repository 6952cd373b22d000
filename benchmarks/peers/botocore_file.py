"""botocore: `DeferredRefreshableCredentials` over its file cache."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.credentials import CachedCredentialFetcher, DeferredRefreshableCredentials
from botocore.utils import JSONFileCache

from benchmarks.peers.peer import HEADER, Standard, password_grant

if TYPE_CHECKING:
    from requests import PreparedRequest

    from benchmarks.peers.peer import Auth, Site


class Fetcher(CachedCredentialFetcher):  # type: ignore[misc]  # botocore has no types
    """Makes the password grant, and keeps what it brought in the file cache."""

    def __init__(self, site: Site) -> None:
        self.site = site
        super().__init__(cache=JSONFileCache(site.directory))

    def _create_cache_key(self) -> str:
        return f"botocore-{self.site.username}"

    def _get_credentials(self) -> dict[str, dict[str, str]]:
        answer = password_grant(self.site)
        end = datetime.now(UTC) + timedelta(seconds=answer["expires_in"])
        token = answer["access_token"]
        keys = {"AccessKeyId": "-", "SecretAccessKey": "-", "SessionToken": token}
        return {"Credentials": {**keys, "Expiration": end.isoformat()}}


class Botocore(Standard):
    """The two refresh windows of the AWS SDK, with a bearer token as the session token."""

    title = "botocore"
    packages = ("botocore",)
    statement = "import botocore.credentials, botocore.utils"
    margin = 900.0

    def open(self, site: Site) -> Auth:
        """Credentials that are fetched when they are first asked for."""
        credentials = DeferredRefreshableCredentials(Fetcher(site).fetch_credentials, "password")

        def sign(request: PreparedRequest) -> PreparedRequest:
            request.headers[HEADER] = f"Bearer {credentials.get_frozen_credentials().token}"
            return request

        return sign


PEER = Botocore()
