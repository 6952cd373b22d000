"""How a command ends: its exit status, and one sentence about the failure."""

from __future__ import annotations

import errno
import os
import traceback

import click

from evertoken.errors import GrantRefused, TokenError
from evertoken.stores.private_folders import HomeUnknown

NO_TOKEN = 3
"""`status`: no usable token."""

REFUSED = 4
"""The token endpoint refused the credentials."""


class Failed(click.ClickException):
    """The token endpoint did not answer, or its answer is invalid."""

    exit_code = 1


class Unusable(click.ClickException):
    """An option, a setting or a credential is missing or wrong."""

    exit_code = 2


class Refused(click.ClickException):
    """The token endpoint refused the credentials."""

    exit_code = REFUSED


class Interrupted(click.ClickException):
    """Ctrl-C, or a prompt without an answer; the status that shells use for SIGINT."""

    exit_code = 130


class NotExecutable(click.ClickException):
    """The program cannot be executed; the status that shells use."""

    exit_code = 126


class NotFound(click.ClickException):
    """The program does not exist; the status that shells use."""

    exit_code = 127


class Command(click.Command):
    """A command that reports a failure as one sentence, after the traceback with `--debug`."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the callback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (click.Abort, KeyboardInterrupt):
            click.echo(err=True)  # the cursor may be behind a prompt
            raise Interrupted("interrupted") from None
        except Exception as error:
            # click handles it: the reader of the output has closed the pipe
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
    # only its type: the text may quote a secret
    return Failed(f"unexpected {type(error).__name__}: --debug shows where")
