"""What processes of a pool are told to do: a spawned child finds it by its import name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from evertoken import BearerAuth, TokenManager


def ask(manager: TokenManager) -> str:
    """The value of the manager's token."""
    return manager.token().value


def call(auth: BearerAuth, url: str) -> int:
    """The status that a call with `auth` gets."""
    return requests.get(url, auth=auth, timeout=30).status_code
