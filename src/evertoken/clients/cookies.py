"""The `Cookie` header of a request that is sent again (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def with_cookies(header: str, cookies: Mapping[str, str]) -> str:
    """`header` with `cookies`: those of the same name are replaced, all else stays as it was.

    `http.cookies` is no help here: it drops all that follows a cookie which it cannot parse, such
    as one with JSON in it.
    """
    sent = (part.strip() for part in header.split(";"))
    kept = [part for part in sent if part and part.partition("=")[0].strip() not in cookies]
    return "; ".join([*kept, *(f"{name}={value}" for name, value in cookies.items())])


def pairs_of(header: str) -> dict[str, str]:
    """The names and values of a `Cookie` header that a client wrote."""
    parts = (part.strip().partition("=") for part in header.split(";") if part.strip())
    return {name: value for name, _, value in parts}
