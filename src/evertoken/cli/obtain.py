"""A usable token of an account: from its token file, or from the token endpoint."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from evertoken.cli import secrets
from evertoken.cli.exits import Unusable
from evertoken.errors import TokenError
from evertoken.runtime import clock

if TYPE_CHECKING:
    from evertoken.cli.account import Account
    from evertoken.core.token import Token

_log = logging.getLogger("evertoken.cli")


def obtain(account: Account) -> Token:
    """The token of the file if it is fresh, else a new one.

    A token that is due is renewed first: this process ends before a background renewal would. If
    the renewal fails, the token is used.

    Raises:
        TokenError: no token is available.
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
        # not refresh(), which ignores the back-off: a shell loop would hammer the endpoint
        manager.token()
        # if the renewal has ended by now, only the status has its error
        if (error := manager.settle() or manager.status().last_error) is not None:
            _log.warning("the token was not renewed yet: %s", error)
        return manager.token()
    except TokenError:
        return token
    except Unusable as error:
        # a secret that nobody configured is not missed as long as there is a token
        if not secrets.unset(account.settings, ask=False):
            _log.warning("the token was not renewed yet: %s", error.message)
        return token
