"""`login`: ask for an account, try it, and write it down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from evertoken.cli import options
from evertoken.cli.exits import Command

if TYPE_CHECKING:
    from evertoken.cli.account import Account


@click.command(cls=Command)
@click.option(
    "--plain-keyring",
    is_flag=True,
    help="Use a keyring that keeps secrets in plain text in a file, without a question.",
)
@options.account(new=True)
def login(account: Account, *, plain_keyring: bool) -> None:
    """Ask for an account, try it, and write its profile.

    The secrets go to the system's keyring where there is one, and nowhere else. What options and
    variables tell is not asked for; what the profile has is offered. Nothing is written where the
    server refuses.
    """
    # only now: `--help` needs none of it
    from evertoken.cli.enrolment import enrol  # noqa: PLC0415  not for --help

    enrol(account, plain_keyring=plain_keyring)
