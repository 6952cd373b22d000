"""Moments in HTTP headers: `Date` and `Retry-After` (RFC 9110 sections 5.6.7, 6.6.1, 10.2.3)."""

from __future__ import annotations

import email.utils
from datetime import UTC

from evertoken.runtime import clock


def moment_of(value: str | None) -> float | None:
    """An HTTP-date in Unix seconds; None for garbage."""
    try:
        moment = email.utils.parsedate_to_datetime((value or "").strip())
        # one of the three forms of an HTTP-date names no zone, and all of them mean UTC
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def answered_at(date: str | None) -> float:
    """When a server answered by its own clock, from `Date`; by this machine's if it named none."""
    return moment_of(date) or clock.now().wall


def retry_after(value: str | None, answered: float) -> float | None:
    """Seconds from the moment of the answer, on the server's clock; None for garbage and the past.

    The clocks of both machines may differ by hours.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    moment = moment_of(text)
    wait = 0.0 if moment is None else moment - answered
    return wait if wait > 0 else None
