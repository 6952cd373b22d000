"""Functions for processes of a pool, which a spawned child finds by their import names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from evertoken import BearerAuth, TokenManager


def ask(manager: TokenManager) -> str:
    """Return the value of the manager's token."""
    return manager.token().value


def call(auth: BearerAuth, url: str) -> int:
    """Make a call with `auth`, and return its status."""
    return requests.get(url, auth=auth, timeout=30).status_code
