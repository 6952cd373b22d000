"""What the commands about a token have in common: whose it is, and how much is said."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from evertoken.errors import TokenError

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    from evertoken.cli.account import Account

_SHARED = (
    click.option("--profile", metavar="NAME", help="Profile of the file.  [default: default]"),
    click.option("--config", metavar="FILE", help="File of profiles, in TOML."),
    click.option("--base-url", metavar="URL", help="Where the API is."),
    click.option("--client-id", metavar="ID", help="The client."),
    click.option("--username", metavar="NAME", help="The user."),
    click.option("--token-dir", metavar="DIRECTORY", help="Where tokens are kept."),
    click.option("--verbose", is_flag=True, help="Tell on standard error what is done."),
    click.option("--debug", is_flag=True, help="Tell all of it, with tracebacks."),
)

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def account(*, new: bool = False) -> Decorator:
    """Give a command the options that name an account, and the account as its first argument.

    Args:
        new: a profile that is named need not exist yet.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*, verbose: bool, debug: bool, **options: str | None) -> None:
            # only now: `--help` needs none of it
            from evertoken.cli.account import load  # noqa: PLC0415  not for --help
            from evertoken.cli.settings import PLAIN  # noqa: PLC0415  likewise

            named = {name: options.pop(name) for name in (*PLAIN, "profile", "config")}
            with _logged("DEBUG" if debug else "INFO" if verbose else "WARNING"):
                given: Account = load(named, new=new)
                command(given, **options)

        for option in reversed(_SHARED):
            run = option(run)
        return run

    return decorate


REPORT_WAIT = 1.0
"""Seconds that a command waits at most, at its end, for what is yet to be logged."""


@contextlib.contextmanager
def _logged(level: str) -> Iterator[None]:
    """Show the library's log on standard error."""
    import logging  # noqa: PLC0415  as above

    from evertoken.runtime import reports  # noqa: PLC0415  likewise

    log = logging.getLogger("evertoken")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("evertoken: %(message)s"))
    if level != "DEBUG":
        handler.addFilter(_is_news)
    before = log.level
    log.addHandler(handler)
    log.setLevel(level)
    try:
        yield
    finally:
        reports.catch_up(REPORT_WAIT)
        log.setLevel(before)
        # a renewal may report after the command has ended: without any handler Python itself
        # would print that
        log.addHandler(logging.NullHandler())
        log.removeHandler(handler)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a command does not say this anyway: it ends with the error of its renewal."""
    told = record.args if isinstance(record.args, tuple) else ()
    return record.name != "evertoken" or not any(isinstance(it, TokenError) for it in told)
