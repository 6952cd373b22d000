"""The options that all commands about a token share: the account, and the log level."""

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
    click.option("--profile", metavar="NAME", help="Profile to use.  [default: default]"),
    click.option(
        "--config",
        metavar="FILE",
        help="Config file, in TOML.  [default: ~/.config/evertoken/config.toml]",
    ),
    click.option(
        "--base-url", metavar="URL", help="URL of the API.  [default: https://app.squadrun.co]"
    ),
    click.option("--client-id", metavar="ID", help="Client id."),
    click.option("--username", metavar="NAME", help="User name."),
    click.option(
        "--token-dir",
        metavar="DIRECTORY",
        help="Folder of the tokens.  [default: ~/.local/state/evertoken]",
    ),
    click.option("--verbose", is_flag=True, help="Log to standard error."),
    click.option("--debug", is_flag=True, help="Log everything, with tracebacks."),
)

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def account(*, new: bool = False) -> Decorator:
    """Add the options of an account to a command, which gets the account as its first argument.

    Args:
        new: the profile need not exist yet.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*, verbose: bool, debug: bool, **options: str | None) -> None:
            # not for `--help`
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
"""Seconds that a command waits at its end, at most, for pending log records."""


@contextlib.contextmanager
def _logged(level: str) -> Iterator[None]:
    """Write the library's log to standard error."""
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
        # a renewal may log after the command has ended, and without a handler Python prints it
        log.addHandler(logging.NullHandler())
        log.removeHandler(handler)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether the command does not print this itself: it ends with the error of its renewal."""
    told = record.args if isinstance(record.args, tuple) else ()
    return record.name != "evertoken" or not any(isinstance(it, TokenError) for it in told)
