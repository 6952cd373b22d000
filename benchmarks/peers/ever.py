"""evertoken: `BearerAuth` over a file store."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from benchmarks.peers.peer import API_URL, Standard
from evertoken import BearerAuth, FileStore, PasswordGrant, TokenManager

if TYPE_CHECKING:
    from benchmarks.peers.peer import Site

RENEWED_AT = 0.72
"""The share of a short lifetime after which it renews, in the middle of its jitter."""


class Evertoken(Standard):
    """As the README's second example has it."""

    title = "evertoken"
    packages = ("evertoken",)
    statement = "from evertoken import BearerAuth, FileStore, PasswordGrant, TokenManager"

    def lifetime(self, period: int) -> int:
        """Its window is a share of a short lifetime."""
        return round(period / RENEWED_AT)

    def open(self, site: Site) -> BearerAuth:
        """A grant, a manager, the auth."""
        grant = PasswordGrant(
            site.token_url,
            client_id=site.client_id,
            client_secret=site.client_secret,
            username=site.username,
            password=site.password,
        )
        manager = TokenManager(grant, store=_store(site.directory))
        return BearerAuth(manager, origins=[API_URL])


@functools.cache
def _store(directory: str) -> FileStore:
    # one for all identities, as an application has it
    return FileStore(os.path.join(directory, "evertoken"))


PEER = Evertoken()
