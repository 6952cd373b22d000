"""The protocol that a peer fulfils, and the password grant for those that make none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest

    Auth = Callable[[PreparedRequest], PreparedRequest]

API_URL = "https://api.example.com/api/v4/leads/responses/7/"
"""Where the requests go that are signed and never sent."""

HEADER = "Authorization"


class Site(NamedTuple):
    """The identity that a peer is to keep a token for.

    No dataclass: a fresh process would load `dataclasses` for the harness, and not for the peer.

    Attributes:
        token_url: the token endpoint; its path tells the server of the benchmarks what to answer.
        directory: where the peer may keep files.
        expires_in: seconds that a token lives, for a peer that has to know it in advance.
    """

    token_url: str
    directory: str
    expires_in: int
    username: str = "user"
    password: str = "right"  # noqa: S105  what the server of the benchmarks takes
    client_id: str = "client"
    client_secret: str = "right"  # noqa: S105  likewise


class Peer(Protocol):
    """One way to keep a token fresh.

    Attributes:
        title: what the tables call it.
        packages: the distributions whose versions are printed.
        statement: imports what its user imports.
        margin: seconds before expiry at which it renews by default.
        refreshes: whether it needs a refresh token to renew.
        unable_to_renew: why it cannot; empty: it can.
        unable_to_share: why processes cannot share its token; empty: they can.
    """

    title: str
    statement: str
    margin: float
    refreshes: bool
    unable_to_renew: str
    unable_to_share: str

    # a mutable attribute would have to be of this very type
    @property
    def packages(self) -> tuple[str, ...]:
        """See the class."""
        ...

    def lifetime(self, period: int) -> int:
        """Seconds that a token has to live to be renewed every `period` seconds."""
        ...

    def open(self, site: Site) -> Auth:
        """What signs a request, as the peer's documentation sets it up; asks for no token yet."""
        ...


class Standard:
    """What most peers have in common."""

    margin = 0.0
    refreshes = False
    unable_to_renew = ""
    unable_to_share = ""

    def lifetime(self, period: int) -> int:
        """The margin, and the time until it begins."""
        return round(self.margin) + period


IN_MEMORY = "keeps its token in memory"


class Answer(TypedDict):
    """What of a token response is used."""

    access_token: str
    expires_in: int


def password_grant(site: Site) -> Answer:
    """Ask for a token, as a user would write it.

    Raises:
        requests.RequestException: there was none.
    """
    form = {
        "grant_type": "password",
        "username": site.username,
        "password": site.password,
        "client_id": site.client_id,
        "client_secret": site.client_secret,
    }
    response = requests.post(site.token_url, data=form, timeout=10)
    response.raise_for_status()
    answer: Answer = response.json()
    return answer
