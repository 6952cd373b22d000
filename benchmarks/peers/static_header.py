"""The floor: a header that never changes, from a JSON file where there is one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from requests.auth import AuthBase

from benchmarks.peers.peer import HEADER, Standard, password_grant

if TYPE_CHECKING:
    from requests import PreparedRequest

    from benchmarks.peers.peer import Site


class StaticHeader(AuthBase):
    """Sets one header."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set it."""
        request.headers[HEADER] = self.value
        return request


class Static(Standard):
    """A token got once and put into a file."""

    title = "static header"
    packages = ("requests",)
    statement = "import requests"
    unable_to_renew = "never renews"

    def open(self, site: Site) -> StaticHeader:
        """Read the file, or ask once and write it."""
        path = os.path.join(site.directory, "static.json")
        if not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                json.dump(password_grant(site), file)
        with open(path, encoding="utf-8") as file:
            return StaticHeader(f"Bearer {json.load(file)['access_token']}")


PEER = Static()
