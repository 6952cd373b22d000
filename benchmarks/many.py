"""One process with many accounts: what `benchmarks.accounts` has its children do."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import requests

from benchmarks.peers.peer import API_URL
from benchmarks.peers.registry import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.peer import Site
    from evertoken import TokenManager

LOOK = 0.5
"""Seconds between two looks at the accounts."""


def signing(peer: str, site: Site, size: int, seconds: float) -> None:
    """Sign once for each of `size` accounts, then once more, at an even pace in `seconds`."""
    library, request = load(peer), requests.Request("GET", API_URL).prepare()
    library.open(site._replace(username="first"))(request.copy())  # loads what a grant needs
    before, started = _resident(), time.monotonic()
    opened = [library.open(site._replace(username=f"user{n}")) for n in range(size)]
    for auth in opened:
        auth(request.copy())
    set_up = time.monotonic() - started
    signed = 0

    def sign_those_due(share: float) -> int:
        nonlocal signed
        due = min(size, int(size * share))
        for auth in opened[signed:due]:
            auth(request.copy())
        signed = due
        return 0

    held = (_resident() - before) / size
    _report(set_up, held, seconds, sign_those_due, every=0.01, spent=time.process_time)


def kept(_peer: str, site: Site, size: int, seconds: float) -> None:
    """Have `keep_fresh` get a token for each of `size` accounts and renew them for `seconds`."""
    from evertoken import FileStore, PasswordGrant, TokenManager  # noqa: PLC0415  not by the peers

    store = FileStore(os.path.join(site.directory, "tokens"))

    def open_one(username: str) -> TokenManager:
        grant = PasswordGrant(
            site.token_url,
            client_id=site.client_id,
            client_secret=site.client_secret,
            username=username,
            password=site.password,
        )
        return TokenManager(grant, store=store, keep_fresh=True)

    open_one("first").token()  # loads what a grant needs
    before, started = _resident(), time.monotonic()
    managers = [open_one(f"user{number}") for number in range(size)]

    def lacking(_share: float = 0.0) -> int:
        return sum(not manager.status().seconds_left for manager in managers)

    while lacking():
        time.sleep(LOOK)
    set_up = time.monotonic() - started
    held = (_resident() - before) / size
    _report(set_up, held, seconds, lacking, every=LOOK, spent=_by_other_threads)


def _report(
    set_up: float,
    held: float,
    seconds: float,
    look: Callable[[float], int],
    *,
    every: float,
    spent: Callable[[], float],
) -> None:
    """Look at all accounts for `seconds`; print the figures of `accounts.Growth` as JSON."""
    started, before = time.monotonic(), spent()
    threads = worst = 0
    while (passed := time.monotonic() - started) < seconds:
        worst = max(worst, look(passed / seconds))
        threads = max(threads, _threads())
        time.sleep(every)
    core = (spent() - before) / (time.monotonic() - started)
    print(json.dumps([set_up, threads, held, core, worst]), flush=True)


def _by_other_threads() -> float:
    """Processor seconds; what this thread spends on looking is not the library's."""
    return time.process_time() - time.thread_time()


def _resident() -> int:
    """Bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))
