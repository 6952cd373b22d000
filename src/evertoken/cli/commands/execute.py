"""`exec`: another program with the token in its environment."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from evertoken.cli import options
from evertoken.cli.exits import Command, NotExecutable, NotFound

if TYPE_CHECKING:
    from evertoken.cli.account import Account

VARIABLE = "SQUADRUN_ACCESS_TOKEN"


# the arguments after the program's name belong to the program
@click.command("exec", cls=Command, context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@options.account()
def execute(account: Account, *, command: tuple[str, ...]) -> None:
    """Run COMMAND with the token in SQUADRUN_ACCESS_TOKEN.

    The program replaces this one: signals and the exit status are its own. It gets one token, which
    is not renewed while it runs. The variables that give the password or the client secret are
    removed.
    """
    # not for `--help`
    from evertoken.cli.obtain import obtain  # noqa: PLC0415  not for --help
    from evertoken.cli.settings import SECRET_VARIABLES  # noqa: PLC0415  likewise
    from evertoken.runtime import reports  # noqa: PLC0415  likewise

    kept = {name: it for name, it in os.environ.items() if name not in SECRET_VARIABLES}
    environment = {**kept, VARIABLE: obtain(account).value}
    sys.stdout.flush()
    # the program replaces this one, and records that are still queued with it
    reports.catch_up(options.REPORT_WAIT)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  no shell is the point
    except FileNotFoundError:
        raise NotFound(f"{command[0]}: command not found") from None
    except OSError as error:
        raise NotExecutable(f"{command[0]}: {error.strerror}") from None
