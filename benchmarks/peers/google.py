"""google-auth: `Credentials` with a refresh handler, as `AuthorizedSession` uses them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials

from benchmarks.peers.peer import IN_MEMORY, Standard, password_grant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from requests import PreparedRequest

    from benchmarks.peers.peer import Auth, Site


class GoogleAuth(Standard):
    """The handler makes the password grant, which the library does not know."""

    title = "google-auth"
    packages = ("google-auth",)
    statement = (
        "from google.oauth2.credentials import Credentials;"
        "from google.auth.transport.requests import AuthorizedSession"
    )
    margin = 225.0
    unable_to_share = IN_MEMORY

    def open(self, site: Site) -> Auth:
        """Set `refresh_handler`."""
        credentials = self.credentials(site)
        transport = Request()

        def sign(request: PreparedRequest) -> PreparedRequest:
            credentials.before_request(transport, request.method, request.url, request.headers)
            return request

        return sign

    def credentials(self, site: Site) -> Credentials:
        """Without a token yet."""

        def handler(request: Request, scopes: Sequence[str] | None) -> tuple[str, datetime]:
            del request, scopes
            answer = password_grant(site)
            now = datetime.now(UTC).replace(tzinfo=None)  # it compares naive times
            return answer["access_token"], now + timedelta(seconds=answer["expires_in"])

        return Credentials(None, refresh_handler=handler)


PEER = GoogleAuth()
