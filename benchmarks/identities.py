"""Cost per call after few and after many identities or foreign origins have come by.

`python -m benchmarks.identities` prints microseconds per call and the ratio, which is 1 where the
cost is flat. Both are timed in turn over many short rounds, and the 10th percentile is taken.
"""

from __future__ import annotations

import contextlib
import logging
import os
import statistics
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import requests

from benchmarks.harness import alone
from benchmarks.report import Result, Table
from evertoken import (
    BearerAuth,
    FileStore,
    MemoryStore,
    PasswordGrant,
    Token,
    TokenKey,
    TokenManager,
)
from evertoken.core.entry import Entry
from evertoken.stores.record import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from requests import PreparedRequest

    from benchmarks.harness import Run

    Call = Callable[[int], object]

HOURS = 36000.0

TOLD = (
    "Microseconds per call once so many identities or foreign origins have come by, and the ratio: "
    "10th percentile of interleaved rounds."
)


class Row(NamedTuple):
    """One kind of call.

    Attributes:
        prepare: has so many come by, given a folder, and makes the call; that is told which one of
            so many calls it is.
        few, many: how many come by.
        calls: in a round.
    """

    prepare: Callable[[str, int, int], Call]
    few: int
    many: int
    calls: int


def measure(run: Run) -> Result:
    """One kind of call after the other; few and many in turn."""
    siblings = run.pick((5, 50), (50, 5000), (50, 5000))
    met = run.pick((10, 100), (100, 10_000), (100, 100_000))
    rows = {
        "save to a file": Row(_save, *siblings, calls=3),
        "look at an unchanged file": Row(_look, *met, calls=100),
        "look at a file for the first time": Row(_first_look, *met, calls=20),
        "save to memory, and look": Row(_remember, *met, calls=100),
        "request to a foreign origin met before": Row(_known_origin, *met, calls=100),
        "request to a new foreign origin": Row(_new_origin, *met, calls=100),
    }
    with _quiet():
        found = {name: _timed(row, run.pick(2, 20, 60)) for name, row in rows.items()}
    columns = ["", "come by", "microseconds", "come by", "microseconds", "ratio"]
    table = Table("Cost per call", columns, [_told(n, rows[n], *found[n]) for n in rows])
    return Result("identities", TOLD, [table], {"microseconds": found})


def _timed(row: Row, rounds: int) -> list[float]:
    """Microseconds per call after few and after many have come by."""
    times: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        total = rounds * row.calls
        calls = row.prepare(one, row.few, total), row.prepare(other, row.many, total)
        for first in range(0, total, row.calls):
            for call, found in zip(calls, times, strict=True):
                found.append(_round(call, range(first, first + row.calls)))
    return [
        statistics.quantiles(found, n=10)[0] if len(found) > 9 else statistics.median(found)
        for found in times
    ]


def _round(call: Call, numbers: Sequence[int]) -> float:
    start = time.perf_counter()
    for number in numbers:
        call(number)
    return (time.perf_counter() - start) / len(numbers) * 1e6


def _told(name: str, row: Row, few: float, many: float) -> list[str]:
    sides = [f"{row.few:,}", f"{few:.1f}", f"{row.many:,}", f"{many:.1f}"]
    return [name, *sides, f"{many / few:.2f}"]


# -- what comes by, and the call -------------------------------------------------------------------


def _save(folder: str, others: int, _calls: int) -> Call:
    for number in range(others):
        for suffix in (".json", ".lock", ".save"):
            _write(os.path.join(folder, f"{_identity(number).digest()}{suffix}"), b"")
    store, key = FileStore(folder), _identity(others)
    return lambda number: _held(store.save(key, _entry(number)))


def _look(folder: str, others: int, _calls: int) -> Call:
    look = _first_look(folder, 0, others + 1)
    for number in range(others + 1):
        look(number)
    return lambda _: look(others)


def _first_look(folder: str, others: int, calls: int) -> Call:
    store = FileStore(folder)
    for number in range(others + calls):
        data = encode(_entry(number), _identity(number), boot=None)
        assert data is not None
        _write(str(store.path(_identity(number))), data)
    for number in range(others):
        _held(store.load(_identity(number)))
    return lambda number: _held(store.load(_identity(others + number)))


def _remember(_folder: str, others: int, _calls: int) -> Call:
    store = MemoryStore()

    def save_and_look(number: int) -> object:
        store.save(_identity(number), _entry(number))
        return _held(store.load(_identity(number)))

    for number in range(others):
        save_and_look(number)
    return lambda number: save_and_look(others + number)


def _known_origin(_folder: str, others: int, _calls: int) -> Call:
    pass_by = _new_origin("", 0, others + 1)
    for number in range(others + 1):
        pass_by(number)
    return lambda _: pass_by(others)


def _new_origin(_folder: str, others: int, _calls: int) -> Call:
    grant = PasswordGrant("https://a.example/", client_id="c", username="u", password="p")
    auth = BearerAuth(TokenManager(grant))
    template = requests.Request("GET", "https://foreign.example/").prepare()

    def pass_by(number: int) -> PreparedRequest:
        template.url = f"https://foreign-{number}.example/"
        return auth(template)

    for number in range(others):
        pass_by(number)
    return lambda number: pass_by(others + number)


def _identity(number: int) -> TokenKey:
    return TokenKey("https://a.example/", "client", f"user-{number}")


def _entry(number: int) -> Entry:
    now = time.time()
    return Entry.of_token(Token(f"token-{number}", now, now + HOURS, generation=int(now) + number))


def _held(entry: Entry | None) -> Entry:
    assert entry is not None
    return entry


def _write(path: str, data: bytes) -> None:
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings, whose price is that of where they are written."""
    log = logging.getLogger("evertoken")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


if __name__ == "__main__":
    alone("identities")
