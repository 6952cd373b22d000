"""Client authentication at the token endpoint (RFC 6749 section 2.3, RFC 7523 section 2.2)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote_plus

from evertoken.errors import GrantUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

ClientAuth = Literal["body", "basic", "basic-raw"]
"""In the body, by HTTP Basic, or by HTTP Basic without form-encoding the credentials first."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Client:
    """Client credentials, sent by exactly one method.

    Attributes:
        identity: the client id; None where the server wants none.
        secret: None for a public client, which names itself in the body.
        method: how a client with a secret authenticates; `"assertion"`: its secret is a JWT, sent
            in the body.

    Raises:
        GrantUnavailable: the id has a colon, and `method` would not encode it.
    """

    identity: str | None
    secret: str | None = field(repr=False)
    method: ClientAuth | Literal["assertion"]

    def __post_init__(self) -> None:
        if self.method == "basic-raw" and ":" in (self.identity or ""):
            raise GrantUnavailable(
                'a client id with a colon cannot be sent raw: use client_auth="basic"', local=True
            )

    @property
    def form(self) -> list[tuple[str, str]]:
        """Its part of the body."""
        if self.identity is None or not self._in_body:
            return []
        return [("client_id", self.identity), *self._secret_form]

    @property
    def _secret_form(self) -> list[tuple[str, str]]:
        if self.secret is None:
            return []
        if self.method == "assertion":
            kind = ("client_assertion_type", _ASSERTION_TYPE)
            return [kind, ("client_assertion", self.secret)]
        return [("client_secret", self.secret)]

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Its part of the head."""
        return [] if self._in_body else [("Authorization", f"Basic {self._pair}")]

    @property
    def secrets(self) -> list[str]:
        """What a server's words must not show."""
        if self.secret is None:
            return []
        return [self.secret] if self._in_body else [self.secret, self._pair]

    @property
    def other_method(self) -> str:
        """What to try if the server does not know this client; empty for a public one."""
        if self.secret is None or self.method == "assertion":
            return ""
        if self._in_body:
            return 'or the server wants them by HTTP Basic: client_auth="basic"'
        if quote_plus(f"{self.identity}{self.secret}") == f"{self.identity}{self.secret}":
            return 'or the server wants them in the body: client_auth="body"'
        if self.method == "basic":
            return 'or, as many servers do, this one wants them raw: client_auth="basic-raw"'
        return 'or the server wants them encoded, as RFC 6749 says: client_auth="basic"'

    @property
    def _in_body(self) -> bool:
        return self.method in {"body", "assertion"} or self.secret is None

    @property
    def _pair(self) -> str:
        """Form-encoded before base64 (section 2.3.1): an id may hold a colon."""
        encode: Callable[[str], str] = quote_plus if self.method == "basic" else str
        pair = f"{encode(self.identity or '')}:{encode(self.secret or '')}"
        return base64.b64encode(pair.encode()).decode()
