"""What events amount to for whatever measures them: counts, kinds of errors, how accounts stand."""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from evertoken.events import (
    LoginEnding,
    RenewalFailed,
    StoreDegraded,
    StoreRecovered,
    TokenRefused,
    TokenRenewed,
    TokenRevoked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from evertoken.errors import TokenError
    from evertoken.events import Event

RENEWALS = "Renewals of a token, by outcome and by where the token or the failure came from."
REPLAYS = "Requests sent again with another token, by the status of the first answer."
REJECTIONS = "Times that an API refused a second token within a minute."
DEGRADATIONS = "Times that a store was found not to serve."
EXPIRY = "Seconds until the newest token expires by its issuer's word; 0 without one."
LOGIN = "Seconds until the login expires, once renewals no longer prolong it: log in again."
STATUS = "What came of the last renewal: 1 for that outcome, 0 for the others."
DEGRADED = "1 while a store does not serve, 0 once it serves again."

OUTCOMES: dict[type[Event], str] = {
    TokenRenewed: "renewed",
    RenewalFailed: "failed",
    TokenRefused: "refused",
}


class Account(NamedTuple):
    """Whom a measurement is about; empty for what is not known.

    Attributes:
        name: the user name or client id, or the name that a listener was given.
        token_url: the token endpoint.
    """

    name: str
    token_url: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How one account stands.

    Attributes:
        outcome: of its last renewal; empty before the first.
        noted_at: when that was, in Unix seconds.
        expires_at: when its newest token does, in Unix seconds; 0 without one.
        degraded: whether a store does not serve, by the store's name.
        login_expires_at: when its login does, in Unix seconds; None unless that was announced.
    """

    outcome: str = ""
    noted_at: float = 0.0
    expires_at: float = 0.0
    degraded: Mapping[str, bool] = field(default_factory=dict)
    login_expires_at: float | None = None

    def after(self, event: Event) -> Standing:
        """How it stands after `event`."""
        if isinstance(event, StoreDegraded | StoreRecovered):
            ails = isinstance(event, StoreDegraded)
            return replace(self, degraded={**self.degraded, event.store: ails})
        if isinstance(event, TokenRevoked):
            return replace(self, expires_at=0.0, login_expires_at=None)
        if isinstance(event, LoginEnding):
            return replace(self, login_expires_at=event.expires_at)
        outcome = OUTCOMES.get(type(event))
        if outcome is None:
            return self
        expires_at = event.expires_at if isinstance(event, TokenRenewed) else self.expires_at
        return replace(self, outcome=outcome, noted_at=time.time(), expires_at=expires_at)

    def merged(self, other: Standing) -> Standing:
        """How an account stands that two listeners hear of: by the later renewal and expiry."""
        later = max(self, other, key=lambda each: each.noted_at)
        ails = {
            store: self.degraded.get(store, False) or other.degraded.get(store, False)
            for store in {**self.degraded, **other.degraded}
        }
        expires_at = max(self.expires_at, other.expires_at)
        ends = [it for it in (self.login_expires_at, other.login_expires_at) if it is not None]
        return replace(
            later,
            expires_at=expires_at,
            degraded=ails,
            login_expires_at=max(ends, default=None),
        )

    @property
    def seconds_left(self) -> float:
        """Seconds until the newest token expires."""
        return max(0.0, self.expires_at - time.time())

    @property
    def login_seconds_left(self) -> float | None:
        """Seconds until the login expires; None unless that was announced."""
        if self.login_expires_at is None:
            return None
        return max(0.0, self.login_expires_at - time.time())

    def statuses(self) -> Iterator[tuple[str, bool]]:
        """Each outcome, and whether the last renewal had it; nothing before the first."""
        if self.outcome:
            for outcome in OUTCOMES.values():
                yield outcome, outcome == self.outcome


class Accounts:
    """The accounts that one listener hears of.

    Args:
        name: what they are called; empty: by the name that each event has.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._standings: dict[Account, Standing] = {}

    def note(self, event: Event) -> Account:
        """Take `event` into account; whom it is about."""
        account = Account(self._name or event.account or "", event.token_url or "")
        self._standings[account] = self._standings.get(account, Standing()).after(event)
        return account

    def standings(self) -> dict[Account, Standing]:
        """How they stand now."""
        # events are told one after the other, and this may be asked meanwhile
        return self._standings.copy()


def error_type(error: TokenError) -> str:
    """The OAuth code if the server gave one, else the error's class: few values in all."""
    return error.error or type(error).__name__


class Listener(Protocol):
    """A listener for the events of one or many accounts."""

    accounts: Accounts


L = TypeVar("L", bound=Listener)


class Listeners(Generic[L]):
    """The listeners in use: those of closed managers are forgotten with them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards _living
        self._living: weakref.WeakSet[L] = weakref.WeakSet()

    def add(self, listener: L) -> None:
        """Include it for as long as it lives."""
        with self._guard:
            self._living.add(listener)

    def standings(self) -> dict[Account, Standing]:
        """How all accounts stand now."""
        with self._guard:
            living = tuple(self._living)
        found: dict[Account, Standing] = {}
        for listener in living:
            for account, standing in listener.accounts.standings().items():
                found[account] = standing.merged(found.get(account, Standing()))
        return found
