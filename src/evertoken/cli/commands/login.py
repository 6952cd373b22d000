"""`login`: ask for an account, try it, and write its profile."""

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
    help="Use a keyring that keeps secrets in plain text, without asking.",
)
@click.option(
    "--device",
    is_flag=True,
    help="Log in on another device (RFC 8628); renewals use the refresh token.",
)
@click.option(
    "--client-credentials",
    is_flag=True,
    help="An account of the client itself, without a user.",
)
@options.account(new=True)
def login(account: Account, *, plain_keyring: bool, device: bool, client_credentials: bool) -> None:
    """Ask for an account, try it, and write its profile.

    The secrets go to the keyring of the system, if there is one, and nowhere else. Settings given
    by options and variables are not asked for; those of the profile are the defaults. If the server
    refuses, no profile is written.
    """
    if device and client_credentials:
        raise click.UsageError("--device and --client-credentials exclude each other")
    # without either, as the profile says: somebody may log in again
    way = "refresh_token" if device else "client_credentials" if client_credentials else None
    from evertoken.cli.enrolment import enrol  # noqa: PLC0415  not for --help

    enrol(account, plain_keyring=plain_keyring, way=way)
