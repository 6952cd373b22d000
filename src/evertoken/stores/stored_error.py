"""Reads and writes the error of a failure, in the same form for every schema."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from evertoken.core.failure import LONGEST_WAIT
from evertoken.errors import GrantRefused, GrantUnavailable, InvalidTokenResponse
from evertoken.stores.fields import printable

if TYPE_CHECKING:
    from evertoken.errors import TokenError
    from evertoken.stores.fields import Fields, Json

LONGEST_MESSAGE = 1000
"""Characters of an error's message."""

LONGEST_WORDS = 200
"""Characters of an error code, a description or a media type."""

_KINDS: dict[str, type[TokenError]] = {
    kind.__name__: kind for kind in (GrantRefused, GrantUnavailable, InvalidTokenResponse)
}
"""The kinds of errors that are stored, by their stored names."""

_STATUSES = 100, 999


def error_fields(error: TokenError) -> Json:
    """The members that store `error`, cut and cleaned so that they can always be read back."""
    # a grant may raise its own kind, which siblings may not know
    names = (name for name, kind in _KINDS.items() if isinstance(error, kind))
    return {
        "kind": next(names, "GrantUnavailable"),
        "message": printable(str(error), most=LONGEST_MESSAGE),
        "status": _status(error.status),
        "content_type": _words(error.content_type),
        "error": _words(error.error),
        "description": _words(error.description),
        "retry_after": _pause(error.retry_after),
        "transient": bool(error.transient),
    }


def read_error(fields: Fields) -> TokenError:
    """The error that was stored; a kind that a later version added is `GrantUnavailable`.

    Raises:
        ValueError: a member is out of bounds.
    """

    def words(name: str) -> str:
        return fields.words(name, most=LONGEST_WORDS)

    def pause(name: str) -> float:
        return fields.number(name, 0.0, LONGEST_WAIT)

    return _KINDS.get(words("kind"), GrantUnavailable)(
        fields.words("message", most=LONGEST_MESSAGE),
        status=fields.maybe(lambda name: fields.whole(name, *_STATUSES), "status"),
        content_type=fields.maybe(words, "content_type"),
        error=fields.maybe(words, "error"),
        description=fields.maybe(words, "description"),
        retry_after=fields.maybe(
            lambda name: fields.number(name, 0.0, LONGEST_WAIT), "retry_after"
        ),
        transient=fields.flag("transient"),
    )


def _words(text: str | None) -> str | None:
    return None if text is None else printable(text, most=LONGEST_WORDS)


def _status(status: int | None) -> int | None:
    low, high = _STATUSES
    return status if status is not None and low <= status <= high else None


def _pause(seconds: float | None) -> float | None:
    # a server may ask for a wait of a century
    if seconds is None or math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT)
