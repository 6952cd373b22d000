"""The managers of this process that ask one server: their waiting ends with its outage."""

from __future__ import annotations

import gc

from evertoken.engine import ending
from evertoken.engine.manager import TokenManager


def end_waits(token_url: str) -> None:
    """Have each manager that asks `token_url` forget its failures, in its stores too.

    Managers are found by the garbage collector: code under test makes its own, and tells nobody.
    """
    for found in gc.get_objects():
        # not by isinstance, which would ask proxies of other libraries for their class
        if issubclass(type(found), TokenManager) and _asks(found, token_url):
            ending.forget_failures(found.renewer)


def _asks(manager: TokenManager, token_url: str) -> bool:
    # one that is being constructed has no renewer yet
    renewer = getattr(manager, "renewer", None)
    return renewer is not None and getattr(renewer.grant, "token_url", None) == token_url
