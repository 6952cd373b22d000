"""`status`: the status of accounts, read from their token files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from evertoken.cli import options
from evertoken.cli.exits import Command

if TYPE_CHECKING:
    from evertoken.cli.account import Account


@click.command(cls=Command)
@options.as_json
@click.option("every", "--all", is_flag=True, help="Show every account in the token folder.")
@options.account()
def status(account: Account, *, as_json: bool, every: bool) -> None:
    """Show the status of the account, read from its token file.

    With --all, or if no account is configured, show every account in the token folder. No request
    is sent and no credentials are needed.

    Exit status: 0 with a usable token, 3 without one, 4 if the credentials were refused. With
    several accounts 0 means that all have one.
    """
    # not for `--help`
    from evertoken.cli.listing import Listing  # noqa: PLC0415  as said
    from evertoken.cli.report import Report  # noqa: PLC0415  likewise

    listed = every or account.settings.missing
    report = Listing.of(account, every=every) if listed else Report.of(account)
    if as_json:
        report.print_json()
    else:
        report.print_table()
    click.get_current_context().exit(report.exit_code)
