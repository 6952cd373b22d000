"""The client credentials grant, of the libraries that make it: cost of a request, and renewals.

`python -m benchmarks.client_credentials`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.harness import alone, prepared
from benchmarks.hot_path import HOURS, round_of, timed
from benchmarks.peers.peer import API_URL, Standard
from benchmarks.peers.registry import FLOOR, SUBJECT
from benchmarks.report import Result, Table
from benchmarks.stall import LATENCY, PACE, PERIOD, trial, worst
from evertoken import BearerAuth, ClientCredentialsGrant, FileStore, TokenManager

if TYPE_CHECKING:
    from benchmarks.harness import Run
    from benchmarks.peers.peer import Auth, Peer, Site

RENEWED_AT = 0.72
"""The share of a short lifetime after which evertoken renews, in the middle of its jitter."""


class Evertoken(Standard):
    """This library, with a file."""

    title = "evertoken"
    packages = ("evertoken",)
    statement = "import evertoken"

    def lifetime(self, period: int) -> int:
        """Its window is a share of a short lifetime."""
        return round(period / RENEWED_AT)

    def open(self, site: Site) -> BearerAuth:
        """A grant, a manager, the auth."""
        grant = ClientCredentialsGrant(
            site.token_url, client_id=site.client_id, client_secret=site.client_secret
        )
        manager = TokenManager(grant, store=FileStore(os.path.join(site.directory, "tokens")))
        return BearerAuth(manager, origins=[API_URL])


class Authlib(Standard):
    """`OAuth2Session`; with this grant it fetches a new token when the old one expires."""

    title = "Authlib"
    packages = ("Authlib",)
    statement = "import authlib.integrations.requests_client"
    margin = 60.0

    def open(self, site: Site) -> Auth:
        """Name the token endpoint and the grant."""
        module: Any = importlib.import_module("authlib.integrations.requests_client")
        session = module.OAuth2Session(
            site.client_id,
            site.client_secret,
            token_endpoint=site.token_url,
            token_endpoint_auth_method="client_secret_post",
            grant_type="client_credentials",
        )
        session.fetch_token()
        auth: Auth = session.token_auth
        return auth


class RequestsOAuth2Client(Standard):
    """`OAuth2ClientCredentialsAuth`."""

    title = "requests-oauth2client"
    packages = ("requests-oauth2client",)
    statement = "import requests_oauth2client"
    margin = 20.0

    def open(self, site: Site) -> Auth:
        """A client, and the auth on top of it."""
        module: Any = importlib.import_module("requests_oauth2client")
        client = module.OAuth2Client(
            site.token_url, client_id=site.client_id, client_secret=site.client_secret, testing=True
        )
        auth: Auth = module.OAuth2ClientCredentialsAuth(client)
        return auth


class RequestsAuth(Standard):
    """`OAuth2ClientCredentials`, with its cache in memory."""

    title = "requests-auth"
    packages = ("requests_auth",)
    statement = "import requests_auth"
    margin = 30.0

    def open(self, site: Site) -> Auth:
        """The auth."""
        module: Any = importlib.import_module("requests_auth")
        auth: Auth = module.OAuth2ClientCredentials(
            site.token_url, client_id=site.client_id, client_secret=site.client_secret
        )
        return auth


PEERS: dict[str, Peer] = {
    SUBJECT: Evertoken(),
    "authlib_session": Authlib(),
    "oauth2client": RequestsOAuth2Client(),
    "requests_auth_file": RequestsAuth(),
}
"""Under the names of the peers of the password grant, which say what is installed."""


def measure(run: Run) -> Result:
    """A request with a fresh token, then calls across renewals."""
    peers = {FLOOR: run.peers[FLOOR]} | {n: it for n, it in PEERS.items() if n in run.peers}
    own = replace(run, peers=peers)
    auths = {name: it.open(own.site(it, expires_in=HOURS)) for name, it in peers.items()}
    for auth in auths.values():
        auth(prepared())
    nanoseconds = timed(own, auths, run.pick(3, 25, 100), round_of)
    rows = []
    for name, peer in peers.items():
        trials = [trial(own, 1, name) for _ in range(run.pick(1, 1, 2))]
        rows.append(
            [
                peer.title,
                f"{nanoseconds[name] / nanoseconds[FLOOR]:.2f}",
                f"{worst(trials).milliseconds(1):.1f}",
                str(sum(each.refused for each in trials)),
            ]
        )
    columns = ["", "ratio", "longest wait", "401s"]
    return Result("client_credentials", TOLD, [Table("Client credentials", columns, rows)])


TOLD = (
    "The time that the auth takes for a request with a fresh token, as a ratio to a static header; "
    f"then one call every {PACE * 1000:.0f} ms while a token is renewed every {PERIOD} s by a "
    f"grant of {LATENCY * 1000:.0f} ms: the longest wait in milliseconds, and calls whose token "
    "was dead."
)

if __name__ == "__main__":
    alone("client_credentials")
