"""How a command ends: its exit status, and one sentence about what went wrong."""

from __future__ import annotations

import errno
import os
import traceback

import click

from evertoken.errors import GrantRefused, TokenError
from evertoken.stores.private_folders import HomeUnknown

NO_TOKEN = 3
"""`status`: there is no usable token."""

REFUSED = 4
"""`status`, and whatever asked the token endpoint: the credentials were refused."""


class Failed(click.ClickException):
    """The token endpoint could not be asked, or what it answered is of no use."""

    exit_code = 1


class Unusable(click.ClickException):
    """The command line, a setting or a credential is missing or wrong."""

    exit_code = 2


class Refused(click.ClickException):
    """The token endpoint refused the credentials."""

    exit_code = REFUSED


class Interrupted(click.ClickException):
    """Ctrl-C, or no answer to a question; the status is a shell's for the signal."""

    exit_code = 130


class NotExecutable(click.ClickException):
    """What a shell says of a program that it cannot run."""

    exit_code = 126


class NotFound(click.ClickException):
    """What a shell says of a program that is not there."""

    exit_code = 127


class Command(click.Command):
    """A command whose failures are sentences; with `--debug` the traceback comes before."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the callback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (click.Abort, KeyboardInterrupt):
            click.echo(err=True)  # the cursor may stand behind a question
            raise Interrupted("interrupted") from None
        except Exception as error:
            # for click to end quietly: whoever read our output has gone
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise _explained(error) from None


def _explained(error: Exception) -> click.ClickException:
    if isinstance(error, TokenError):
        said = "; ".join([str(error), *getattr(error, "__notes__", ())])
        return (Refused if isinstance(error, GrantRefused) else Failed)(said)
    if isinstance(error, HomeUnknown):
        return Unusable(str(error))
    if isinstance(error, OSError) and error.errno:
        return Failed(f"{os.strerror(error.errno)}: --debug shows where")
    # its text may quote what was being handled, a secret too
    return Failed(f"unexpected {type(error).__name__}: --debug shows where")
