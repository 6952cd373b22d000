"""What happened, as small frozen values without a secret."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evertoken.runtime import reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.errors import TokenError

_log = logging.getLogger("evertoken")


@dataclass(frozen=True, slots=True)
class TokenRenewed:
    """A later token is in use.

    Attributes:
        source: `"grant"`, or the store it was adopted from: `"memory"`, `"file"`, `"redis"` …
        seconds: how long the renewal took.
        lifetime: of the token, in seconds.
        expires_at: when it ends, in Unix seconds: an adopted one has lived for a while.
    """

    source: str
    seconds: float
    lifetime: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """No token came of a renewal; `next_try` is in Unix seconds."""

    error: TokenError
    next_try: float


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """The credentials were refused; the endpoint is left alone until `until`, in Unix seconds."""

    error: TokenError
    until: float


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """The token was revoked and dropped; `confirmed` by the server or not."""

    confirmed: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """A request answered with `status` was sent again with another token."""

    status: int


@dataclass(frozen=True, slots=True)
class RejectedAgain:
    """An API refused a token that is younger than a minute, after it had refused the one before.

    The caller received that answer: an API that refuses every token is not to cost a grant per
    call. It is told once a minute at most.

    Attributes:
        reason: what the log says of it: the likely cause, and the remedy.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class StoreDegraded:
    """A store does not serve for now, and requests go on from memory.

    Attributes:
        store: its name: `"file"`, `"redis"` …
        reason: what the log said of it.
    """

    store: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoreRecovered:
    """A store serves again, `seconds` after it was found not to."""

    store: str
    seconds: float


Event = (
    TokenRenewed
    | RenewalFailed
    | TokenRefused
    | TokenRevoked
    | Replayed
    | RejectedAgain
    | StoreDegraded
    | StoreRecovered
)


def emit(on_event: Callable[[Event], None] | None, event: Event) -> None:
    """Tell `on_event` soon, outside of all locks; what it raises is logged and ends here."""
    if on_event is not None:
        reports.tell(functools.partial(_call, on_event, event))


def _call(on_event: Callable[[Event], None], event: Event) -> None:
    try:
        on_event(event)
    except (Exception, SystemExit):  # noqa: BLE001  a user's callback may raise anything
        _log.exception("on_event raised for %s", type(event).__name__)
