"""Threads, memory and processor time of one process, from 10 to 10,000 accounts.

Each account has a token of ten hours. The peers get it with their first signed request and sign one
more in the window that is measured; `keep_fresh` needs no request. A second table has
`keep_fresh` renew short tokens over one `FileStore` for two lifetimes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.harness import alone, child
from benchmarks.peers.registry import FLOOR
from benchmarks.report import Result, Table

if TYPE_CHECKING:
    from benchmarks.harness import Run

HOURS = 36000

LONGEST_SET_UP = 30.0
"""Seconds; a peer that takes longer is not tried with more accounts."""

TOLD = (
    "One process that holds many accounts, each with a token of ten hours, at the rate of one "
    "request per account in the window: set-up until all have a token, threads, kilobytes per "
    "account, and the share of a core in the window. Then `keep_fresh=True` over one `FileStore` "
    "with short tokens, without any request: how many accounts lacked a usable token at the worst "
    "look after the set-up, and the grants per account."
)


class Growth(NamedTuple):
    """What one process with so many accounts took.

    Attributes:
        set_up: seconds until all of them had a token.
        threads: at most.
        bytes: of resident memory, for each account.
        core: the share of one core in the window.
        lacking: accounts without a usable token at the worst look of the window.
    """

    set_up: float
    threads: int
    bytes: float
    core: float
    lacking: int


def measure(run: Run) -> Result:
    """One process per peer and number of accounts."""
    sizes = run.pick((3,), (10, 100, 1000), (10, 100, 1000, 10_000))
    window = run.pick(0.2, 5.0, 20.0)
    names = [name for name in run.renewing() if name != FLOOR]
    found: dict[str, dict[int, Growth]] = {}
    for name, kept in [*((name, False) for name in names), ("ever", True)]:
        title = f"{run.peers[name].title}{', keep_fresh' * kept}"
        found[title] = _growth(run, name, sizes, window, kept=kept)
    short = _short_lived(run)
    tables = [_table(title, sizes, found) for title in ("set_up", "threads", "bytes", "core")]
    return Result("accounts", TOLD, [*tables, short], {"sizes": sizes, "growth": found})


def _growth(
    run: Run, name: str, sizes: tuple[int, ...], window: float, *, kept: bool
) -> dict[int, Growth]:
    found: dict[int, Growth] = {}
    for size in sizes:
        if any(each.set_up > LONGEST_SET_UP for each in found.values()):
            break
        site = run.site(run.peers[name], expires_in=HOURS)
        job = "kept" if kept else "signing"
        found[size] = Growth(*json.loads(child(job, name, site, size, window, timeout=900)))
        asked = len(run.endpoint.ledger(site).grants)
        assert asked == size + 1, f"{run.peers[name].title} made {asked} grants for {size} accounts"
    return found


def _short_lived(run: Run) -> Table:
    size, lifetime = run.pick((10, 2), (200, 60), (2000, 120))
    site = run.site(run.peers["ever"], expires_in=lifetime)
    took = Growth(*json.loads(child("kept", "ever", site, size, 2 * lifetime, timeout=900)))
    grants = len(run.endpoint.ledger(site).grants)
    row = [f"{size:,}", f"{lifetime} s", f"{took.set_up:.1f} s", f"{took.threads}"]
    row += [f"{took.core:.2f}", f"{took.lacking}", f"{grants / size:.2f}"]
    columns = ["accounts", "lifetime", "set-up", "threads", "core", "lacking", "grants each"]
    return Table(
        "keep_fresh over one FileStore, for two lifetimes after the set-up", columns, [row]
    )


TITLES = {
    "set_up": "Seconds until all have a token",
    "threads": "Threads",
    "bytes": "Kilobytes per account",
    "core": "Share of a core",
}


def _table(what: str, sizes: tuple[int, ...], found: dict[str, dict[int, Growth]]) -> Table:
    rows = [
        [title, *(_told(what, growth.get(size)) for size in sizes)]
        for title, growth in found.items()
    ]
    return Table(TITLES[what], ["accounts", *(f"{size:,}" for size in sizes)], rows)


def _told(what: str, growth: Growth | None) -> str:
    if growth is None:
        return "-"
    match what:
        case "threads":
            return f"{growth.threads}"
        case "bytes":
            return f"{growth.bytes / 1000:.1f}"
        case "set_up":
            return f"{growth.set_up:.1f}"
        case _:
            return f"{growth.core:.3f}"


if __name__ == "__main__":
    alone("accounts")
