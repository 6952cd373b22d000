"""A usable token of an account: from its file, or else granted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from evertoken.cli.exits import Unusable
from evertoken.errors import TokenError
from evertoken.runtime import clock

if TYPE_CHECKING:
    from evertoken.cli.account import Account
    from evertoken.core.token import Token

_log = logging.getLogger("evertoken.cli")


def obtain(account: Account) -> Token:
    """A usable token: the one in the file where that is fresh, else one that is granted.

    One in its last minutes is renewed first, since this process ends before a renewal in the
    background would; where that fails, it serves.

    Raises:
        TokenError: there is none to be had.
        Unusable: a setting or a secret is missing or wrong.
    """
    now = clock.now()
    held = account.held(now)
    if held.token is not None and held.usable(now):
        return held.token if not held.due(now) else _renewed(account, held.token)
    return account.manager().token()


def _renewed(account: Account, token: Token) -> Token:
    try:
        manager = account.manager(ask=False)
        # starts a renewal; not refresh(), which ignores a back-off: a shell loop would hammer the
        # endpoint
        manager.token()
        # a renewal that has ended by now leaves its error in the status alone
        if (error := manager.settle() or manager.status().last_error) is not None:
            _log.warning("the token was not renewed yet: %s", error)
        return manager.token()
    except (Unusable, TokenError):
        return token
