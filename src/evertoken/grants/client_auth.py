"""Client authentication at the token endpoint (RFC 6749 section 2.3)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import quote_plus


@dataclass(frozen=True, slots=True)
class Client:
    """Client credentials, sent by exactly one method."""

    identity: str
    secret: str | None = field(repr=False)
    in_body: bool

    @property
    def form(self) -> list[tuple[str, str]]:
        """Its part of the body."""
        if not self.in_body:
            return []
        secret = [] if self.secret is None else [("client_secret", self.secret)]
        return [("client_id", self.identity), *secret]

    @property
    def basic(self) -> str | None:
        """Form-encoded before base64 (section 2.3.1): an id may hold a colon."""
        if self.in_body or self.secret is None:
            return None
        pair = f"{quote_plus(self.identity)}:{quote_plus(self.secret)}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    @property
    def secrets(self) -> list[str]:
        """What a server's words must not show."""
        return [] if self.secret is None else [self.secret, *(self.basic or "").split()[1:]]
