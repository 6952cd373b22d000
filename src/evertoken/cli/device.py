"""A login on another device: a code is shown here, and typed there."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import click

from evertoken.cli import grants, secrets
from evertoken.cli.account import POLICY
from evertoken.cli.exits import Failed, Unusable
from evertoken.cli.settings import DEVICE_PATH
from evertoken.engine.manager import TokenManager
from evertoken.engine.naming import account_of, named
from evertoken.errors import TokenError
from evertoken.grants import device
from evertoken.grants.client_auth import Client
from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.cli.account import Account
    from evertoken.grants.device import DeviceLogin


def log_in(account: Account) -> TokenManager:
    """Have the user log in on another device; a manager that begins with that login.

    Raises:
        TokenError: the user declined, or took too long, or the server has no such login.
        Failed: the server gave no refresh token.
        Unusable: the profile has parameters or header fields that this login would not send.
    """
    settings, key = account.settings, account.key
    read = functools.partial(secrets.read, settings, ask=False)
    if settings.request.extra or settings.request.headers:
        raise Unusable("a device's login sends neither the extra nor the headers of the profile")
    secret = read("client_secret") if secrets.has(settings, "client_secret") else None
    client = Client(key.client_id, secret, settings.request.client_auth)
    with _naming(account_of(key), settings.base_url + DEVICE_PATH):
        begun = device.begin(settings.base_url + DEVICE_PATH, client)
    click.echo(_what_to_do(begun), err=True)
    with _naming(account_of(key), key.token_url):
        granted = device.wait(key.token_url, client, begun, sleep=clock.sleep)
    if granted.refresh_token is None:
        raise Failed("the server gave no refresh token: a token of this login cannot be renewed")
    grant = grants.grant_of(settings, key, read, refresh_token=granted.refresh_token)
    return TokenManager(grant, store=account.store, policy=POLICY)


def _what_to_do(begun: DeviceLogin) -> str:
    """Which page to open; one that has the code is compared with it (RFC 8628 section 3.3.1)."""
    if begun.page_with_code:
        return f"Open {begun.page_with_code} and check that it shows {begun.user_code}"
    return f"Open {begun.page} and enter {begun.user_code}"


@contextlib.contextmanager
def _naming(who: str, url: str) -> Iterator[None]:
    """Errors of the block name the account and the URL."""
    try:
        yield
    except TokenError as raised:
        error = named(raised.again(), account=who, token_url=url)
    else:
        return
    # outside the except block: `raised` would become its context
    raise error
