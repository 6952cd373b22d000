"""Calls as an application makes them, each with its time and what it was signed with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.harness import prepared
from benchmarks.peers.peer import HEADER

if TYPE_CHECKING:
    from requests import PreparedRequest

    from benchmarks.peers.peer import Auth


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an auth: when it returned (monotonic), how long it took, what it set."""

    moment: float
    seconds: float
    header: str
    failed: bool


def signed(auth: Auth) -> Call:
    """Sign one request; whatever the auth raises is a failed call."""
    return _timed(auth, prepared())


def _timed(auth: Auth, request: PreparedRequest) -> Call:
    start = time.perf_counter()
    try:
        auth(request)
        failed = False
    except Exception:  # noqa: BLE001  each library raises errors of its own
        failed = True
    seconds = time.perf_counter() - start
    return Call(time.monotonic(), seconds, str(request.headers.get(HEADER, "")), failed)


def paced(auth: Auth, pace: float, end: float) -> list[Call]:
    """One call every `pace` seconds until `end` (monotonic); ticks slept through are left out."""
    calls: list[Call] = []
    tick = time.monotonic()
    while tick < end:
        calls.append(signed(auth))
        now = time.monotonic()
        tick = max(tick + pace, now)
        time.sleep(max(0.0, tick - now))
    return calls
