"""`demo`: the main job as one command; what it does is done elsewhere."""

from __future__ import annotations

import sys

import click

from evertoken.cli import options
from evertoken.cli.exits import Command, Failed, Unusable


@click.command(cls=Command)
@click.option(
    "--seconds",
    type=float,
    show_default="two renewals, 60 at most",
    help="How long the workers call.",
)
@click.option("--workers", default=4, show_default=True, help="Processes.")
@click.option("--threads", default=4, show_default=True, help="Threads in each.")
@click.option(
    "--expires-in",
    type=int,
    show_default="ten grants fit into the last quarter, 6 to 30",
    help="Token lifetime in seconds.",
)
@click.option("--base-url", help="A real account's API, with the SQUADRUN_* variables set.")
@click.option("--campaign", default=1, show_default=True, help="Campaign whose leads are read.")
@click.option("--write", is_flag=True, help="Add a lead to a real account too.")
@click.option("--store", metavar="URL", help="Share through this Redis, not through a file.")
@click.option("--fast-hashing", is_flag=True, help="Grants in 5 ms, not 0.5 s: for tests.")
@options.as_json
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def demo(  # noqa: PLR0917  click passes options by name
    seconds: float | None,
    workers: int,
    threads: int,
    expires_in: int | None,
    base_url: str | None,
    campaign: int,
    write: bool,  # noqa: FBT001  likewise
    store: str | None,
    fast_hashing: bool,  # noqa: FBT001  likewise
    as_json: bool,  # noqa: FBT001  likewise
    debug: bool,  # noqa: ARG001, FBT001  likewise; Command looks at it
) -> None:
    """Have worker processes call an API over several token lifetimes.

    The API is a sandbox of the demo's own unless --base-url is given.

    Exit status 0: no promise was broken; what this machine was too busy to judge is named. 1: a
    promise was not kept, or the sandbox ended during the run. 2: the demo could not start.
    """
    from evertoken.demo import Gone, Plan, Unready, run  # noqa: PLC0415  only where it is used

    try:
        kept = run(
            Plan(
                seconds=seconds,
                workers=workers,
                threads=threads,
                expires_in=expires_in,
                base_url=base_url,
                campaign=campaign,
                write=write,
                fast_hashing=fast_hashing,
                store=store,
                as_json=as_json,
            )
        )
    except (Unready, ValueError) as error:
        raise Unusable(str(error)) from None
    except Gone as error:
        raise Failed(str(error)) from None
    sys.exit(0 if kept else 1)
