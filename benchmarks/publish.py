"""`python -m benchmarks.publish`: write the figures of the last run into the pages.

A page marks where: `<!-- figures: NAME -->`, then what this command writes, then `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import RESULTS, Figures, longest_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parents[1]

MARKED = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

PEERS = {
    "evertoken": "evertoken",
    "a lock and a clock by hand": "by hand, with a lock",
    "Authlib": "Authlib",
    "google-auth": "google-auth",
    "google-auth, opted in to its thread": "google-auth, non-blocking",
    "msal": "msal",
}
"""The columns of the README's table, and what the tables of the benchmarks call them."""

NONE = "\N{EN DASH}"
"""A cell of a peer that cannot do it."""

CELLS = {
    "a request with a fresh token, times a static header": ("hot_path", "ratio"),
    "longest wait of a call while a token is renewed, ms": ("stall", "max"),
    "grants per lifetime, {most}": ("processes", "{most}"),
    "failed calls in an outage that ends before the token does": ("outage", "failed calls"),
    "posts of a wrong password in 100 calls": ("refusal", "posts"),
}
"""The rows; `{most}` is the largest fleet of the run, such as `64 processes`."""


def when(figures: Figures) -> str:
    """Under which circumstances the figures were made."""
    told = figures.circumstances
    took = told["took"].rpartition(", ")[2]
    date = told["date"].partition(" ")[0]
    loaded = (
        f" **The machine was loaded then ({figures.load}): the figures are provisional.**"
        if figures.load.busy
        else ""
    )
    return (
        f"Measured on {date} by a {took} run of `python -m benchmarks`: {told['machine']}, "
        f"Python {told['Python']}.{loaded}\n"
    )


def beside_others(figures: Figures) -> str:
    """Five rows: evertoken and what users would pick instead."""
    most = largest_fleet(figures)
    rows = [
        [
            what.format(most=most),
            *(
                figures.cell(benchmark, peer, column.format(most=most)) or NONE
                for peer in PEERS.values()
            ),
        ]
        for what, (benchmark, column) in CELLS.items()
    ]
    return _table(["", *PEERS], rows) + "\n" + when(figures)


def nearest(figures: Figures) -> str:
    """Every figure of evertoken, beside the nearest library and the range of the others."""
    rows = []
    most = largest_fleet(figures)
    for told, (benchmark, named, table) in COMPARED.items():
        if table >= len(figures.results[benchmark]["tables"]):
            continue  # a quick run has one thread only
        what, column = told.format(most=most), named.format(most=most)
        own = figures.cell(benchmark, "evertoken", column, table=table)
        (least, title), *others = figures.rivals(benchmark, column, table=table)
        span = " to ".join(dict.fromkeys(f"{figure:g}" for figure, _ in (others[0], others[-1])))
        rows.append([what, own, f"{title} {least:g}", span])
    for what, (benchmark, row, column) in ALONE.items():
        rows.append([what, figures.cell(benchmark, row, column), "", ""])
    return _table(["", "evertoken", "the nearest library", "the others"], rows)


COMPARED = {
    "a request with a fresh token, times a static header": ("hot_path", "ratio", 0),
    "longest wait while a token is renewed, 1 thread, ms": ("stall", "max", 0),
    "the same with 4 threads, ms": ("stall", "max", 1),
    "grants per lifetime of {most}": ("processes", "{most}", 0),
    "failed calls in an outage that ends before the token does": ("outage", "failed calls", 0),
    "posts of a wrong password in 100 calls": ("refusal", "posts", 0),
    "a fresh process with a warm file, times reading JSON": ("cold_start", "ratio", 0),
    "import of the main names, times `import requests`": ("cold_start", "ratio to requests", 1),
    "bytes of a manager with its token": ("memory", "with its token", 0),
}

ALONE = {
    "`manager.header()` alone, times a static header": (
        "hot_path",
        "evertoken, header() alone",
        "ratio",
    ),
    '`evertoken token` from a file, times `python -c "import requests"`': (
        "command_line",
        "evertoken token",
        "ratio",
    ),
    "`evertoken --help`, likewise": ("command_line", "evertoken --help", "ratio"),
}


def stall(figures: Figures) -> str:
    """The picture of waits, with the same figures for those who cannot see it."""
    data = figures.results["stall"]["data"]
    waits = "; ".join(f"{data['titles'][n]} {longest_wait(data, n)}" for n in data["calls"])
    alt = f"Milliseconds that a call waits at most while its token is renewed: {waits}"
    return _picture("stall", alt)


def heartbeat(figures: Figures) -> str:
    """The picture of the event loop, with the same figures for those who cannot see it."""
    beats = figures.results["asynchronous"]["data"]["beats"]
    told = "; ".join(f"{title} {max(held for _, held in it):.1f}" for title, it in beats.items())
    alt = f"Milliseconds for which the event loop is held at most while a token is renewed: {told}"
    return _picture("heartbeat", alt)


def asynchronous(figures: Figures) -> str:
    """The table of asynchronous clients."""
    (found,) = figures.results["asynchronous"]["tables"]
    return _table(found["columns"], found["rows"])


def shared_login(figures: Figures) -> str:
    """The picture of processes that share a login, and the table."""
    (found,) = figures.results["shared_peers"]["tables"]
    told = "; ".join(f"{row[0]} {row[1]}" for row in found["rows"])
    alt = f"Processes that have no failed call after three lifetimes of a shared login: {told}"
    return _picture("shared_login", alt) + "\n" + _table(found["columns"], found["rows"])


def accounts(figures: Figures) -> str:
    """The tables of threads, memory and CPU by number of accounts."""
    found = figures.results["accounts"]["tables"]
    return "\n".join(
        f"{each['title']}:\n\n{_table(each['columns'], each['rows'])}" for each in found
    )


def processes(figures: Figures) -> str:
    """The picture of grants per lifetime."""
    data = figures.results["processes"]["data"]
    most = largest_fleet(figures)
    peers = [data["titles"][name] for name in data["grants per lifetime"]]
    told = "; ".join(f"{peer} {figures.cell('processes', peer, most)}" for peer in peers)
    return _picture("processes", f"Grants per lifetime of a token, {most}: {told}")


def largest_fleet(figures: Figures) -> str:
    """What the tables call the largest fleet of the run."""
    return f"{max(figures.results['processes']['data']['counts'])} processes"


def hot_path(figures: Figures) -> str:
    """The picture of the time per request."""
    data = figures.results["hot_path"]["data"]
    shown = sorted((ns, name) for name, ns in data["ns"].items() if name != "floor_again")
    told = "; ".join(f"{data['titles'][name]} {ns:,.0f}" for ns, name in shown)
    return _picture("hot_path", f"Nanoseconds per request with a fresh token: {told}")


def sizing(figures: Figures) -> str:
    """What 10,000 simulated workers ask of Redis and of the token endpoint."""
    rows = [
        [
            what,
            f"{found['commands']:,.0f}",
            f"{found['commands_peak']:,}",
            f"{found['grants']:,}",
            f"{found['grants_peak']:,}",
        ]
        for what, found in ((what, figures.fleet[name]) for what, name in SCENARIOS.items())
    ]
    columns = ["", "commands/s", "busiest second", "grants", "busiest second"]
    return _table(columns, rows)


SCENARIOS = {
    "the token is fresh": "steady, recheck 10 s",
    "the token is fresh, `recheck=1`": "steady, recheck 1 s",
    "the token is fresh, `recheck=30`": "steady, recheck 30 s",
    "the token is renewed": "edge",
    "… and the process that renews it dies": "edge, the holder dies",
    "… and Redis is away for 10 s": "edge, 10 s outage",
    "… and Redis is away for 30 s": "edge, 30 s outage",
    "… and Redis is away for 60 s": "edge, 60 s outage",
    "… and a grant takes 10 s, every lease 2 s": "edge, every lease lost",
    "all start without a token within 10 s": "cold start in 10 s",
}

BLOCKS: dict[str, Callable[[Figures], str]] = {
    block.__name__: block
    for block in (
        *(when, beside_others, nearest, stall, processes, hot_path, sizing),
        *(heartbeat, asynchronous, shared_login, accounts),
    )
}


def rendered(text: str, figures: Figures, page: Path) -> str:
    """The page `text` with the figures of today in each of its marked places."""

    def block(found: re.Match[str]) -> str:
        written = BLOCKS[found[2]](figures)
        return f"{found[1]}{written.replace(HERE, _way(page))}{found[3]}"

    return MARKED.sub(block, text)


def pages() -> Iterable[Path]:
    """Every page of the tree that shows figures."""
    # not all of the tree: an environment in it has pages of its own
    folders = (ROOT / "src", ROOT / "benchmarks", ROOT / "tests")
    found = [*ROOT.glob("*.md"), *(page for f in folders for page in sorted(f.rglob("*.md")))]
    return [page for page in found if MARKED.search(page.read_text(encoding="utf-8"))]


HERE = "{results}"


def _way(page: Path) -> str:
    return Path(os.path.relpath(RESULTS, page.parent)).as_posix()


def _picture(name: str, alt: str) -> str:
    return f"![{alt}]({HERE}/{name}.svg)\n"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    ruler = ["---", *["--:"] * (len(columns) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (columns, ruler, *rows))


def refused(figures: Figures, *, even_loaded: bool) -> str:
    """Why these figures are not published; empty: they may be."""
    if even_loaded or not figures.load.busy:
        return ""
    return (
        f"refused: the machine was loaded when the last run began ({figures.load}). "
        "Run `python -m benchmarks` on an idle one, or pass --even-loaded"
    )


def main() -> None:
    """Write them, unless the run was on a loaded machine."""
    parser = argparse.ArgumentParser(
        description="Write the figures of the last run into the pages."
    )
    parser.add_argument(
        "--even-loaded", action="store_true", help="also of a loaded machine; the pages say so"
    )
    given = parser.parse_args()
    figures = Figures.read()
    if why := refused(figures, even_loaded=given.even_loaded):
        sys.exit(why)
    for page in pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(rendered(text, figures, page), encoding="utf-8")
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
