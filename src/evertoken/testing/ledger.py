"""The tokens that the server has issued, and which of them are still valid."""

from __future__ import annotations

import math
import secrets
import string
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Pair:
    """An access token and the refresh token that came with it.

    Attributes:
        expires_at: when the access token expires, in seconds on the server's clock.
        family: shared by all pairs that came from one login.
    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    scope: str
    expires_at: float
    family: int = 0


class Ledger:
    """Issues and checks tokens by the rules of Django OAuth Toolkit.

    A password grant keeps earlier tokens valid; a refresh ends the pair that it replaces; revoking
    either token of a pair ends both.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._pairs: dict[str, Pair] = {}  # by either token, valid or not
        self._live: set[str] = set()  # access and refresh tokens that have not been ended
        self._spent: dict[str, float] = {}  # refresh tokens that were replaced, and when
        self._grants = 0
        self._reuses = 0
        self._devices: dict[str, str] = {}  # the OAuth error of each device code; "" once approved

    @property
    def grants(self) -> int:
        """The number of pairs issued."""
        with self._lock:
            return self._grants

    @property
    def reuses(self) -> int:
        """How often a refresh token was used that had been replaced before, grace apart."""
        with self._lock:
            return self._reuses

    @property
    def secrets(self) -> frozenset[str]:
        """Every token ever issued."""
        with self._lock:
            return frozenset(self._pairs)

    def issue(self, scope: str, lifetime: float) -> Pair:
        """Issue a new pair."""
        with self._lock:
            return self._issue(scope, lifetime)

    def rotate(
        self,
        refresh: str,
        lifetime: float,
        *,
        grace: float = 0.0,
        protected: bool = False,
        keeps_access: bool = False,
    ) -> Pair | None:
        """Replace the pair of `refresh` by a new one; None if the refresh token is not valid.

        Args:
            refresh: the refresh token.
            lifetime: seconds of the new access token.
            grace: seconds for which a replaced refresh token is still accepted.
            protected: whether a later use ends all pairs of its family (RFC 9700 section
                4.14.2).
            keeps_access: whether the old access token stays valid until it expires.
        """
        with self._lock:
            old = self._pairs.get(refresh)
            if old is None or refresh != old.refresh:
                return None
            if refresh in self._live:
                self._live -= {old.refresh} if keeps_access else {old.access, old.refresh}
                self._spent[refresh] = self._clock()
            elif not self._in_grace(refresh, grace):
                self._note_reuse(old, protected=protected)
                return None
            return self._issue(old.scope, lifetime, old.family)

    def begin_device(self) -> tuple[str, str]:
        """A device code and a user code, which wait for an approval (RFC 8628 section 3.2)."""
        with self._lock:
            code = _token()
            self._devices[code] = "authorization_pending"
            return code, code[:8].upper()

    def decide_devices(self, error: str) -> None:
        """Answer all devices that wait: `error`, or "" for an approval."""
        with self._lock:
            waiting = (code for code, state in self._devices.items() if "pending" in state)
            self._devices.update(dict.fromkeys(list(waiting), error))

    def finish_device(self, code: str) -> str:
        """The error for a device that polls; "" if it was approved, once."""
        with self._lock:
            state = self._devices.get(code, "invalid_grant")
            if not state:
                del self._devices[code]
            return state

    def accepts(self, access: str) -> bool:
        """Whether an access token is known, not revoked and not expired."""
        with self._lock:
            pair = self._pairs.get(access) if access in self._live else None
            return pair is not None and access == pair.access and self._clock() < pair.expires_at

    def revoke(self, token: str) -> bool:
        """End both tokens of the pair; False if the server never issued `token`."""
        with self._lock:
            pair = self._pairs.get(token)
            if pair is not None:
                self._live -= {pair.access, pair.refresh}
                self._end_grace(each for each in self._pairs.values() if each.family == pair.family)
            return pair is not None

    def revoke_all(self) -> None:
        """End every token."""
        with self._lock:
            self._live.clear()
            self._end_grace(self._pairs.values())

    def expire_all(self) -> None:
        """End every access token; refresh tokens stay valid."""
        with self._lock:
            self._live -= {pair.access for pair in self._pairs.values()}

    def _in_grace(self, refresh: str, grace: float) -> bool:
        since = self._spent.get(refresh)
        return since is not None and self._clock() - since < grace

    def _end_grace(self, pairs: Iterable[Pair]) -> None:
        """Take no replaced refresh token of `pairs` any more; a use of one still counts."""
        for refresh in {each.refresh for each in pairs} & self._spent.keys():
            self._spent[refresh] = -math.inf

    def _note_reuse(self, pair: Pair, *, protected: bool) -> None:
        self._reuses += pair.refresh in self._spent
        if protected:
            family = [each for each in self._pairs.values() if each.family == pair.family]
            self._live.difference_update(*({each.access, each.refresh} for each in family))
            # what died is not taken in its grace period either
            for each in family:
                self._spent.pop(each.refresh, None)

    def _issue(self, scope: str, lifetime: float, family: int | None = None) -> Pair:
        ends = self._clock() + lifetime
        pair = Pair(_token(), _token(), scope, ends, self._grants if family is None else family)
        self._pairs |= {pair.access: pair, pair.refresh: pair}
        self._live |= {pair.access, pair.refresh}
        self._grants += 1
        return pair


def _token() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(30))
