"""`python -m benchmarks`: measure, print tables, write JSON, markdown and pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks import host
from benchmarks.figures import RESULTS
from benchmarks.harness import Scale, options, running
from benchmarks.report import page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.harness import Benchmark, Run
    from benchmarks.host import Load
    from benchmarks.report import Result

NAMES = (
    "server",
    "hot_path",
    "stall",
    "threads",
    "processes",
    "cold_start",
    "command_line",
    "outage",
    "refusal",
    "memory",
    "identities",
    "client_credentials",
    "asynchronous",
    "shared_peers",
    "accounts",
)


def main() -> None:
    """Run what was asked for."""
    parser = options("Measure evertoken beside what users would pick instead.")
    parser.add_argument("--only", action="append", choices=NAMES, help="may be given repeatedly")
    parser.add_argument(
        "--results",
        metavar="DIR",
        help="write JSON, tables and pictures there; a whole full run: benchmarks/results",
    )
    parser.add_argument(
        "--even-loaded", action="store_true", help="measure for benchmarks/results all the same"
    )
    given = parser.parse_args()
    whole = given.scale is Scale.FULL and not given.only
    directory = given.results or (RESULTS if whole else None)
    before = host.load()
    if refusal := refused(directory, before, even_loaded=given.even_loaded):
        sys.exit(refusal)
    with running(given.scale) as run:
        told = host.circumstances(run.peers.values(), before)
        told |= {f"not installed: {name}": why for name, why in run.missing.items()}
        print("\n".join(f"{name}: {text}" for name, text in told.items()), end="\n\n")
        start = time.monotonic()
        wanted = [name for name in NAMES if not given.only or name in given.only]
        found = {name: _measured(name, run) for name in wanted}
        told["took"] = f"{time.monotonic() - start:.0f} s, {given.scale.name.lower()}"
    print(f"took {told['took']}")
    if directory:
        _write(directory, before, told, [result for result in found.values() if result])
    if failed := [name for name, result in found.items() if result is None]:
        sys.exit(f"failed: {', '.join(failed)}")


def refused(directory: str | None, load: Load, *, even_loaded: bool) -> str:
    """Why no run for `directory` begins now; empty: it may."""
    published = directory is not None and os.path.realpath(directory) == os.path.realpath(RESULTS)
    if not (load.busy and published and not even_loaded):
        return ""
    return (
        f"the machine is loaded ({load}), and figures of {RESULTS} are published: wait until it is "
        "idle, name another folder by --results, or pass --even-loaded, which marks the figures"
    )


def _measured(name: str, run: Run) -> Result | None:
    """What was found; None where it failed, which is to cost nobody the other figures."""
    module: Benchmark = import_module(f"benchmarks.{name}")
    try:
        result = module.measure(run)
    except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError):
        traceback.print_exc()
        return None
    print(result.plain(), flush=True)
    return result


def _write(
    directory: str, before: Load, told: Mapping[str, str], results: Sequence[Result]
) -> None:
    # only here: it takes a second to load
    from benchmarks.plots import draw  # noqa: PLC0415

    os.makedirs(directory, exist_ok=True)
    _save(directory, "tables.md", page(told, results))
    shown = {
        "circumstances": told,
        "load": before._asdict(),
        "results": {r.name: asdict(r) for r in results},
    }
    _save(directory, "results.json", json.dumps(shown, separators=(",", ":")))
    pictures = draw({result.name: result.data for result in results}, directory)
    print("written:", ", ".join([*sorted(["results.json", "tables.md"]), *pictures]))


def _save(directory: str, name: str, text: str) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        file.write(f"{text}\n")


if __name__ == "__main__":
    main()
