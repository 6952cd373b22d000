"""Ends the waits of all managers of a server, when a test ends its outage."""

from __future__ import annotations

import gc

from evertoken.engine import ending
from evertoken.engine.manager import TokenManager


def end_waits(token_url: str) -> None:
    """Make each manager of `token_url` forget its failures, in its stores too.

    The managers are found through the garbage collector, since code under test makes its own.
    """
    for found in gc.get_objects():
        # not isinstance, which would resolve lazy proxies of other libraries
        if issubclass(type(found), TokenManager) and _asks(found, token_url):
            ending.forget_failures(found.renewer)


def _asks(manager: TokenManager, token_url: str) -> bool:
    # a manager under construction has no renewer yet
    renewer = getattr(manager, "renewer", None)
    return renewer is not None and getattr(renewer.grant, "token_url", None) == token_url
