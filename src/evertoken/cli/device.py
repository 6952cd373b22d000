"""A login on another device: a code is shown here, and typed there."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from evertoken.cli import grants, secrets
from evertoken.cli.account import POLICY
from evertoken.cli.exits import Failed
from evertoken.cli.settings import DEVICE_PATH, TOKEN_PATH
from evertoken.engine.manager import TokenManager
from evertoken.grants import device
from evertoken.grants.client_auth import Client
from evertoken.runtime import clock

if TYPE_CHECKING:
    from evertoken.cli.account import Account


def log_in(account: Account) -> TokenManager:
    """Have the user log in on another device; a manager that begins with that login.

    Raises:
        TokenError: the user declined, or took too long, or the server has no such login.
        Failed: the server gave no refresh token.
    """
    settings, key = account.settings, account.key
    read = functools.partial(secrets.read, settings, ask=False)
    secret = read("client_secret") if "client_secret" in settings.secrets else None
    client = Client(key.client_id, secret, settings.request.client_auth)
    begun = device.begin(settings.base_url + DEVICE_PATH, client)
    click.echo(f"Open {begun.page_with_code or begun.page} and enter {begun.user_code}", err=True)
    token_url = settings.base_url + TOKEN_PATH
    granted = device.wait(token_url, client, begun, sleep=clock.sleep)
    if granted.refresh_token is None:
        raise Failed("the server gave no refresh token: a token of this login cannot be renewed")
    grant = grants.grant_of(settings, key, read, refresh_token=granted.refresh_token)
    return TokenManager(grant, store=account.store, policy=POLICY)
