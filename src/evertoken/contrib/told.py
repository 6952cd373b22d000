"""What events amount to for whatever counts them: outcome, kind of error, time to expiry."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from evertoken.events import RenewalFailed, TokenRefused, TokenRenewed, TokenRevoked

if TYPE_CHECKING:
    from evertoken.errors import TokenError
    from evertoken.events import Event

RENEWALS = "Renewals of a token, by what came of them and where the token came from."
REPLAYS = "Requests sent again with another token, by the status that the first answer had."
DEGRADATIONS = "Times that a store was found not to serve, by its name."
EXPIRY = "Seconds until the last token ends by its issuer's word; 0 after its revocation."

OUTCOMES = {TokenRenewed: "renewed", RenewalFailed: "failed", TokenRefused: "refused"}


def error_type(error: TokenError) -> str:
    """The OAuth code where the server gave one, else the error's class: few values in all."""
    return error.error or type(error).__name__


class Expiry:
    """When the last token ends, as its renewals tell."""

    def __init__(self) -> None:
        self._end = 0.0

    def note(self, event: Event) -> None:
        """Take `event` into account."""
        if isinstance(event, TokenRenewed):
            self._end = event.expires_at
        elif isinstance(event, TokenRevoked):
            self._end = 0.0

    def left(self) -> float:
        """Seconds until then."""
        return max(0.0, self._end - time.time())


class Listener(Protocol):
    """A listener for one account's events."""

    account: str
    expiry: Expiry


L = TypeVar("L", bound=Listener)


class Listeners(Generic[L]):
    """The listeners that are in use: those of closed managers are forgotten with them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards _living
        self._living: weakref.WeakSet[L] = weakref.WeakSet()

    def add(self, listener: L) -> None:
        """Count it in for as long as it lives."""
        with self._guard:
            self._living.add(listener)

    def left(self) -> dict[str, float]:
        """Seconds to expiry by account; of two listeners for one, the later end."""
        with self._guard:
            living = tuple(self._living)
        left: dict[str, float] = {}
        for one in living:
            left[one.account] = max(left.get(one.account, 0.0), one.expiry.left())
        return left
