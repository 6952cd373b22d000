"""What the faults of a history excuse: a grant, a lost login, a call without a token."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.chaos.kinds import BUSY, KINDS, SLACK

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from benchmarks.chaos.history import Call, Fault, History, Post

SHORTEST_USE = 0.65
"""Smallest share of its lifetime for which a token is used: the window is the last quarter, jitter
lengthens it by up to a quarter, and what is measured is when the endpoint answered.
"""

UNTIL_READ = 5.0
"""Seconds after a new login in which all processes have read it."""

FROZEN = frozenset({"freeze", BUSY})
"""Faults in which a process could not run."""

STRANGE = frozenset({"freeze", "no descriptors", "no threads", BUSY})
"""Faults in which a client itself may fail."""


def met(
    history: History, kinds: Iterable[str], places: Iterable[str], began: float, ended: float
) -> bool:
    """Whether a fault of one of these kinds was in force at one of these places."""
    return any(
        fault.kind in kinds and fault.concerns(places) and fault.overlaps(began, ended)
        for fault in history.faults
    )


def price(
    history: History, places: Sequence[str], before: Post, after: Post, used: Counter[Fault]
) -> Fault | None:
    """The fault that this grant is the price of."""
    found = []
    for fault in history.faults:
        kind = KINDS[fault.kind]
        lingering = kind.settles + kind.reach
        if kind.costs == "none" or not fault.concerns(places):
            continue
        if fault.overlaps(before.at, after.at, after=lingering) and (
            used[fault] < _most(history, fault, places)
        ):
            found.append(fault)
    # one that may cost a grant of each process first, then the one that ends first
    return min(found, key=lambda it: (KINDS[it.kind].costs != "each", it.ended), default=None)


def _most(history: History, fault: Fault, places: Sequence[str]) -> int:
    """How many grants a fault may cost one identity."""
    kind = KINDS[fault.kind]
    if kind.costs == "one":
        return 1
    ended = fault.ended + kind.settles + kind.reach
    processes = {
        call.process
        for call in history.calls
        if call.identity == places[0] and fault.began <= call.ended and call.began <= ended
    }
    lives = (ended - fault.began) / (SHORTEST_USE * history.setting.lifetime)
    return math.ceil(len(processes) * (1 + lives))


def may_lose(history: History, identity: str, at: float) -> bool:
    """Whether a fault may have lost the login of an identity, or spent it twice, at a moment."""
    places = history.setting.places[identity]
    return any(
        KINDS[fault.kind].loses and fault.concerns(places) and fault.overlaps(at, at, after=after)
        for fault in history.faults
        for after in [KINDS[fault.kind].settles + KINDS[fault.kind].reach]
    )


def stopped(history: History, call: Call) -> bool:
    """Whether a fault, or a lost login, kept this call from a new token."""
    exclusive = call.identity in history.setting.exclusive
    stopping = {"all", "exclusive"} if exclusive else {"all"}
    for fault in history.faults:
        kind = KINDS[fault.kind]
        if (
            kind.stops in stopping
            and fault.concerns(call.places)
            and fault.overlaps(call.began, call.ended, after=kind.settles)
        ):
            return True
    lost = [it for it in history.logins if it.identity == call.identity]
    return any(it.lost - SLACK <= call.ended and call.began <= it.at + UNTIL_READ for it in lost)
