"""A usable token of an account: from its file, or else granted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from evertoken import clock
from evertoken.cli.exits import Unusable
from evertoken.cli.wording import next_try
from evertoken.errors import RefreshTimeout, TokenError

if TYPE_CHECKING:
    from evertoken.cli.account import Account
    from evertoken.policy import Snapshot
    from evertoken.token import Token

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
    return _granted(account, held)


def _granted(account: Account, held: Snapshot) -> Token:
    manager = account.manager()
    try:
        return manager.token()
    except TokenError as error:
        now = clock.now()
        stands = account.held(now).refusal
        if stands is not None and held.refusal is not None and stands.until == held.refusal.until:
            left = next_try(stands.remaining(now), refused=bool(stands.tag))
            error.add_note(f"this is remembered; next try {left}")
        raise


def _renewed(account: Account, token: Token) -> Token:
    try:
        manager = account.manager(ask=False)
        latest = manager.token()
        # not refresh(), which passes over a back-off: a shell loop would hammer the endpoint
        manager.tend()
        if (flight := manager.renewer.flight) is not None:
            landing = flight.wait(until=clock.since_boot() + manager.timeout)
            latest = landing.snapshot.token or latest
            if landing.outcome.error is not None:
                _log.warning("the token was not renewed yet: %s", landing.outcome.error)
    except (Unusable, RefreshTimeout):
        return token
    return latest
