"""Events for `on_event`: small frozen values without secrets."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvent:
    """What all events have.

    Attributes:
        account: whose token: the user name, or the client id of an identity without one; None while
            that is not known, since the credentials could not be read.
        token_url: the token endpoint; None if the grant names none.
    """

    account: str | None = None
    token_url: str | None = None


@dataclass(frozen=True, slots=True)
class TokenRenewed(AccountEvent):
    """A newer token is in use.

    Attributes:
        source: `"grant"`, or the store that it was adopted from: `"memory"`, `"file"`, `"redis"` …
        seconds: how long the renewal took.
        lifetime: of the token, in seconds.
        expires_at: when it expires, in Unix seconds. An adopted token may be older than this event.
    """

    source: str
    seconds: float
    lifetime: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class RenewalFailed(AccountEvent):
    """No token came of a renewal.

    Attributes:
        error: why; one that was adopted from a store says since when it is remembered.
        next_try: when the endpoint may be asked again, in Unix seconds.
        source: `"grant"`, or `"store"` if it was adopted from one.
    """

    error: TokenError
    next_try: float
    source: str = "grant"


@dataclass(frozen=True, slots=True)
class TokenRefused(AccountEvent):
    """The credentials were refused.

    Attributes:
        error: the server's verdict; one that was adopted from a store says since when it is
            remembered.
        until: how long the endpoint is left alone, in Unix seconds.
        source: `"grant"`, or `"store"` if it was adopted from one.
    """

    error: TokenError
    until: float
    source: str = "grant"


@dataclass(frozen=True, slots=True)
class TokenRevoked(AccountEvent):
    """The token was revoked and dropped; `confirmed`: the server confirmed it."""

    confirmed: bool


@dataclass(frozen=True, slots=True)
class Replayed(AccountEvent):
    """A request that was answered with `status` was sent again with another token."""

    status: int


@dataclass(frozen=True, slots=True)
class RejectedAgain(AccountEvent):
    """An API rejected a token that is less than a minute old, after it rejected the previous one.

    The caller received that answer: an API that rejects every token must not cost a grant per call.
    Emitted at most once a minute.

    Attributes:
        reason: the message that was logged: the likely cause and the remedy.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class LoginEnding(AccountEvent):
    """The refresh token of a login expires soon, and renewals do not prolong it: log in again.

    Emitted once per process, up to three days ahead, if the server names the end.

    Attributes:
        expires_at: when the refresh token expires, in Unix seconds.
    """

    expires_at: float


@dataclass(frozen=True, slots=True)
class StoreDegraded(AccountEvent):
    """A store has stopped working; requests go on from memory.

    Attributes:
        store: its name: `"file"`, `"redis"` …
        reason: the message that was logged.
    """

    store: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoreRecovered(AccountEvent):
    """A store works again, `seconds` after it was found to be failing."""

    store: str
    seconds: float


Event = (
    TokenRenewed
    | RenewalFailed
    | TokenRefused
    | TokenRevoked
    | Replayed
    | RejectedAgain
    | LoginEnding
    | StoreDegraded
    | StoreRecovered
)


def emit(on_event: Callable[[Event], None] | None, event: Event) -> None:
    """Queue a call of `on_event`, outside all locks. An exception in it is logged."""
    if on_event is not None:
        reports.enqueue(functools.partial(_call, on_event, event))


def _call(on_event: Callable[[Event], None], event: Event) -> None:
    try:
        on_event(event)
    except (Exception, SystemExit):  # noqa: BLE001  a user's callback may raise anything
        _log.exception("on_event raised for %s of %s", type(event).__name__, _whose(event))


def _whose(event: Event) -> str:
    return " at ".join(filter(None, (event.account, event.token_url))) or "an unknown account"
