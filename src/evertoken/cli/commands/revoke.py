"""`revoke`: end a token at the server and here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from evertoken.cli import options
from evertoken.cli.exits import Command, Failed

if TYPE_CHECKING:
    from evertoken.cli.account import Account


@click.command(cls=Command)
@options.as_json
@options.account()
def revoke(account: Account, *, as_json: bool) -> None:
    """Revoke the token at the server and here.

    It is dropped here whatever the server answers. All processes that share the token file drop it
    within a second.
    """
    entry = account.store.load(account.key)
    login = None if entry is None else entry.login
    known = entry is not None and (
        entry.token is not None or (login is not None and login.refresh_token is not None)
    )
    if not known and account.store.trouble(account.key):
        # the store's warning says why
        raise Failed("nothing was revoked: there may be a token, but its file cannot be read")
    if known:
        account.manager(password=False).revoke()
    if as_json:
        click.echo(json.dumps({"revoked": known}))
    else:
        click.echo("revoked" if known else "there is no token to revoke", err=True)
