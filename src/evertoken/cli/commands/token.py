"""`token`, `header` and `refresh`: print a usable token, or renew it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from evertoken.cli import options
from evertoken.cli.exits import Command

if TYPE_CHECKING:
    from evertoken import Token
    from evertoken.cli.account import Account


@click.command(cls=Command)
@options.as_json
@options.account()
def token(account: Account, *, as_json: bool) -> None:
    """Print the access token, and nothing else.

    It comes from the token file. If that has none, a new one is requested and kept there.
    """
    held = _obtained(account)
    click.echo(
        _json(access_token=held.value, token_type="Bearer", **_times(held))  # noqa: S106  RFC 6750's word
        if as_json
        else held.value
    )


@click.command(cls=Command)
@options.as_json
@options.account()
def header(account: Account, *, as_json: bool) -> None:
    """Print the Authorization header.

    \b
    To keep it out of the list of processes, and to send nothing if there is none:
      header=$(evertoken header) && curl -H @- URL <<< "$header"
    """  # noqa: D301  click leaves the lines after a backspace as they are
    value = f"Bearer {_obtained(account).value}"
    click.echo(_json(Authorization=value) if as_json else f"Authorization: {value}")


@click.command(cls=Command)
@options.as_json
@options.account()
def refresh(account: Account, *, as_json: bool) -> None:
    """Request a new token now.

    Even if the old one is fresh, and even after a refusal. All processes that share the token file
    use it. The token itself is not printed.
    """
    from evertoken.cli.wording import duration  # noqa: PLC0415  only where it is used

    granted = account.manager().refresh()
    if as_json:
        click.echo(_json(**_times(granted)))
    else:
        click.echo(f"got a new token, valid for {duration(granted.lifetime)}")


def _obtained(account: Account) -> Token:
    # not for `--help`
    from evertoken.cli.obtain import obtain  # noqa: PLC0415  not for --help

    return obtain(account)


def _times(token: Token) -> dict[str, object]:
    left = max(0, int(token.expires_at - time.time()))
    return {"expires_at": token.expires_at, "expires_in": left, "scope": token.scope}


def _json(**members: object) -> str:
    import json  # noqa: PLC0415  as above

    return json.dumps(members)
