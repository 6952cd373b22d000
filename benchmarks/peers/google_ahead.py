"""google-auth with its opt-in to renew in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.google import GoogleAuth

if TYPE_CHECKING:
    from google.oauth2.credentials import Credentials

    from benchmarks.peers.peer import Site


class GoogleAuthAhead(GoogleAuth):
    """The same credentials, opted in."""

    title = "google-auth, non-blocking"

    def credentials(self, site: Site) -> Credentials:
        """Call `with_non_blocking_refresh`."""
        credentials = super().credentials(site)
        credentials.with_non_blocking_refresh()
        return credentials


PEER = GoogleAuthAhead()
