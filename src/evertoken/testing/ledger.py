"""The tokens that the server has issued, and which of them are still valid."""

from __future__ import annotations

import secrets
import string
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Pair:
    """An access token and the refresh token that came with it.

    Attributes:
        expires_at: when the access token expires, in seconds on the server's clock.
    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    scope: str
    expires_at: float


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
        self._grants = 0

    @property
    def grants(self) -> int:
        """The number of pairs issued."""
        with self._lock:
            return self._grants

    @property
    def secrets(self) -> frozenset[str]:
        """Every token ever issued."""
        with self._lock:
            return frozenset(self._pairs)

    def issue(self, scope: str, lifetime: float) -> Pair:
        """Issue a new pair."""
        with self._lock:
            return self._issue(scope, lifetime)

    def rotate(self, refresh: str, lifetime: float) -> Pair | None:
        """Replace the pair of `refresh` by a new one; None if the refresh token is not valid."""
        with self._lock:
            old = self._pairs.get(refresh) if refresh in self._live else None
            if old is None or refresh != old.refresh:
                return None
            self._live -= {old.access, old.refresh}
            return self._issue(old.scope, lifetime)

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
            return pair is not None

    def revoke_all(self) -> None:
        """End every token."""
        with self._lock:
            self._live.clear()

    def expire_all(self) -> None:
        """End every access token; refresh tokens stay valid."""
        with self._lock:
            self._live -= {pair.access for pair in self._pairs.values()}

    def _issue(self, scope: str, lifetime: float) -> Pair:
        pair = Pair(_token(), _token(), scope, self._clock() + lifetime)
        self._pairs |= {pair.access: pair, pair.refresh: pair}
        self._live |= {pair.access, pair.refresh}
        self._grants += 1
        return pair


def _token() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(30))
