"""Durations for people (pure)."""

from __future__ import annotations

import math

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """`seconds` in their two largest units: `9 h 58 min`, `40 s`; rounded down."""
    left = max(0, int(seconds))
    counts: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        counts.append((count, unit))
    first = next((index for index, (count, _) in enumerate(counts) if count), len(counts) - 1)
    shown = counts[first : first + 2]
    return " ".join(f"{count} {unit}" for count, unit in shown if count) or "0 s"


def next_try(seconds: float, command: str, *, refused: bool) -> str:
    """When the next request may be sent: in `seconds`, rounded up, or now by `command`."""
    sooner = "with other credentials at once, or " if refused else ""
    return f"in {duration(math.ceil(seconds))}; {sooner}now by {command}"
