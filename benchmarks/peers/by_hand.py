"""What is written by hand first: a clock, a lock, and a look at both before each request."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from requests.auth import AuthBase

from benchmarks.peers.peer import HEADER, IN_MEMORY, Standard, password_grant

if TYPE_CHECKING:
    from requests import PreparedRequest

    from benchmarks.peers.peer import Site


class ByHandAuth(AuthBase):
    """Renews when the token has expired, under a lock."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.lock = threading.Lock()
        self.header = ""
        self.expiry = 0.0

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set the header, renewed before if it has expired."""
        with self.lock:
            if time.time() > self.expiry:
                answer = password_grant(self.site)
                self.header = f"Bearer {answer['access_token']}"
                self.expiry = time.time() + answer["expires_in"]
            request.headers[HEADER] = self.header
        return request


class ByHand(Standard):
    """A dozen lines."""

    title = "by hand, with a lock"
    packages = ("requests",)
    statement = "import requests"
    unable_to_share = IN_MEMORY

    def open(self, site: Site) -> ByHandAuth:
        """Nothing to set up."""
        return ByHandAuth(site)


PEER = ByHand()
