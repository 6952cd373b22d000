"""Ends the waits for a server that a test has made to recover: of managers, and in memory."""

from __future__ import annotations

import gc

from evertoken.core import state
from evertoken.engine import ending
from evertoken.engine.manager import TokenManager
from evertoken.runtime import clock
from evertoken.stores.memory import process_wide


def end_waits(token_url: str) -> None:
    """Make each manager of `token_url` forget its failures, in its stores too.

    The managers are found through the garbage collector, since code under test makes its own.
    """
    for found in gc.get_objects():
        # not isinstance, which would resolve lazy proxies of other libraries
        if issubclass(type(found), TokenManager) and _asks(found, token_url):
            ending.forget_failures(found.renewer)
    # what managers left there that are gone: code under test may make one for each call
    memory, now = process_wide(), clock.now()
    for key in memory.identities():
        if key.token_url == token_url and (entry := memory.load(key)) is not None:
            memory.save(key, state.over(entry, now))


def _asks(manager: TokenManager, token_url: str) -> bool:
    # a manager under construction has no renewer yet
    renewer = getattr(manager, "renewer", None)
    if renewer is None:
        return False
    key = renewer.snapshot.key
    # a grant of one's own need not have a token URL
    url = getattr(renewer.grant, "token_url", None) if key is None else key.token_url
    return bool(url == token_url)
