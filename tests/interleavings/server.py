"""The simulated token endpoint, with a record of grants, revocations and refusals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from evertoken.core.token import Token
from evertoken.errors import GrantRefused
from interleavings.scenario import LIFETIME, RIGHT

if TYPE_CHECKING:
    from evertoken.errors import TokenError


class Credentials(NamedTuple):
    """The posted credentials."""

    username: str
    password: str

    @property
    def fingerprint(self) -> bytes:
        """A value that identifies these credentials."""
        return f"{self.username}:{self.password}".encode()


class Violation(AssertionError):
    """An invariant was violated."""


@dataclass
class Server:
    """Grants tokens that name the credentials they were granted for.

    Attributes:
        valid: the current password.
        grants: the granted tokens.
        revoked: the revoked tokens.
        refusals: the wrong credentials that were posted, with their times.
        spent: each refresh token that was spent, and who spent it.
        reused: how often a spent one was sent again.
        sent: when the request for each token was sent.
    """

    valid: str = RIGHT
    grants: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    refusals: list[tuple[Credentials, float]] = field(default_factory=list)
    spent: dict[str, int] = field(default_factory=dict)
    reused: int = 0
    sent: dict[str, float] = field(default_factory=dict)

    def answer(
        self, credentials: Credentials, refresh_token: str | None, time: float, actor: int
    ) -> Token | TokenError:
        """The answer to one request."""
        username, password = credentials
        if password != self.valid:
            self.refusals.append((credentials, time))
            # a refresh posts no password: it is the client's secret that is wrong
            error = "invalid_grant" if refresh_token is None else "invalid_client"
            return GrantRefused(f"{username}: wrong password", status=400, error=error)
        if refresh_token is not None:
            if refresh_token in self.spent:
                self.reused += 1
                return GrantRefused(f"{username}: spent", status=400, error="invalid_grant")
            self.spent[refresh_token] = actor
        value = f"{username}:{password}-{len(self.grants)}"
        self.grants.append(value)
        self.sent[value] = time
        successor = None if refresh_token is None else f"refresh-{len(self.grants)}"
        return Token(value, 0.0, LIFETIME, refresh_token=successor)

    def refused(self, fingerprint: bytes) -> bool:
        """Whether the credentials with this fingerprint were posted and refused."""
        return any(each.fingerprint == fingerprint for each, _ in self.refusals)

    def state(self) -> object:
        """A value that identifies this state."""
        spent = tuple(self.spent.items())
        sent = tuple(self.sent.items())
        return self.valid, sent, frozenset(self.revoked), tuple(self.refusals), spent, self.reused


def owner_of(value: str) -> str:
    """The name of the user that this token was granted to."""
    return value.partition(":")[0]


def password_of(value: str) -> str:
    """The password that this token was granted for."""
    return value.partition(":")[2].rpartition("-")[0]
