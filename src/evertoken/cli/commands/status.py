"""`status`: what the token file says of an account, without asking the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from evertoken.cli import options
from evertoken.cli.exits import Command

if TYPE_CHECKING:
    from evertoken.cli.account import Account


@click.command(cls=Command)
@options.as_json
@click.option("every", "--all", is_flag=True, help="Tell of every account in the token folder.")
@options.account()
def status(account: Account, *, as_json: bool, every: bool) -> None:
    """Tell how the account stands, by its token file alone.

    With --all, or if no account is configured, it tells of every account in the token folder. It
    asks no server, and needs no credentials.

    Exit status: 0 with a usable token, 3 without one, 4 where the credentials were refused.
    """
    # only now: `--help` needs no token file
    from evertoken.cli.listing import Listing  # noqa: PLC0415  not for --help
    from evertoken.cli.report import Report  # noqa: PLC0415  likewise

    listed = every or account.settings.missing
    report = Listing.of(account, every=every) if listed else Report.of(account)
    if as_json:
        report.print_json()
    else:
        report.print_table()
    click.get_current_context().exit(report.exit_code)
