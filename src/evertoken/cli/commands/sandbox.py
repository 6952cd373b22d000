"""`sandbox`: a local SquadRun; what it does is done elsewhere."""

from __future__ import annotations

from typing import Literal

import click

from evertoken.cli import options
from evertoken.cli.exits import Command, Unusable


@click.command(cls=Command)
@click.option("--port", default=0, show_default="any free one", help="TCP port on 127.0.0.1.")
@click.option("--expires-in", default=36000, show_default=True, help="Token lifetime in seconds.")
@click.option(
    "--auth-failure",
    type=click.Choice(["401", "403"]),
    default="401",
    show_default=True,
    help="Status of an API call without a valid token.",
)
@click.option("--rate-limit", metavar="N/min", help="Calls allowed in a minute, such as 100/min.")
@click.option(
    "--data",
    type=click.Path(file_okay=False),
    help="Directory that keeps the database.  [default: a temporary one, deleted at the end]",
)
@click.option("--fast-hashing", is_flag=True, help="Grants in 5 ms, not 0.5 s: for tests.")
@click.option(
    "--refresh-rotation",
    is_flag=True,
    help="A refresh token that comes a second time ends its login.",
)
@click.option(
    "--grace",
    metavar="SECONDS",
    default=0,
    show_default=True,
    help="Seconds for which a replaced refresh token is still accepted.",
)
@click.option("--verbose", is_flag=True, help="Log each request on standard error.")
@options.as_json
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def sandbox(  # noqa: PLR0917  click passes options by name
    port: int,
    expires_in: int,
    auth_failure: Literal["401", "403"],
    rate_limit: str | None,
    data: str | None,
    fast_hashing: bool,  # noqa: FBT001  likewise
    refresh_rotation: bool,  # noqa: FBT001  likewise
    grace: int,
    verbose: bool,  # noqa: FBT001  likewise
    as_json: bool,  # noqa: FBT001  likewise
    debug: bool,  # noqa: ARG001, FBT001  likewise; Command looks at it
) -> None:
    """Serve a local SquadRun until Ctrl-C.

    When it is ready, its settings are printed as NAME=value lines, for a shell to take over.
    """
    from evertoken.sandbox import Options, SandboxError, run  # noqa: PLC0415  only where it is used

    try:
        run(
            Options(
                port=port,
                expires_in=expires_in,
                auth_failure=401 if auth_failure == "401" else 403,
                rate_limit=_per_minute(rate_limit),
                data=data,
                fast_hashing=fast_hashing,
                refresh_rotation=refresh_rotation,
                grace=grace,
                verbose=verbose,
                as_json=as_json,
            )
        )
    except (SandboxError, ValueError) as error:
        raise Unusable(str(error)) from None


def _per_minute(limit: str | None) -> int | None:
    if limit is None:
        return None
    number = limit.removesuffix("/min")
    if not number.isdecimal():
        raise click.BadParameter(
            f"{limit!r} is not a number of calls a minute, such as 100/min",
            param_hint="--rate-limit",
        )
    return int(number)
