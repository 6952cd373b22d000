"""A server's token endpoint: where it is, what it wants to be asked, what its answers mean.

The same for all accounts of an application, which share one object.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evertoken.core.token import Token
from evertoken.errors import RevocationFailed
from evertoken.grants import additions
from evertoken.runtime import clock
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import requests

    from evertoken.grants import client_auth as client_authentication
    from evertoken.grants import endpoint, response, revocation
    from evertoken.grants.additions import Additions, Pairs
    from evertoken.grants.client_auth import Client, ClientAuth
    from evertoken.grants.endpoint import Endpoint
else:
    # a process that finds a token in its store asks for none
    client_authentication, endpoint, response, revocation = (
        lazy(f"evertoken.grants.{module}")
        for module in ("client_auth", "endpoint", "response", "revocation")
    )


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What one grant sends, read once; its `repr` shows none of it.

    Attributes:
        form: the parameters, without those of the client.
        client: its credentials.
        headers: header fields, without those of the client.
        secrets: what no error may repeat, besides those of the client.
        remedy: what an error proposes if the server answers `invalid_grant`.
    """

    form: Pairs = field(repr=False)
    client: Client = field(repr=False)
    headers: Pairs = field(repr=False)
    secrets: list[str] = field(repr=False)
    remedy: str

    def spending(self, refresh_token: str) -> TokenRequest:
        """This request with a refresh token (RFC 6749 section 6)."""
        form = [*self.form, ("refresh_token", refresh_token)]
        return replace(self, form=form, secrets=[*self.secrets, refresh_token])


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpoint:
    """How a token is asked for and revoked; `PasswordGrant` documents the options.

    Made by `options.token_endpoint`, which checks them.
    """

    token_url: str
    revoke_url: str | None
    scope: str | None
    extra: Additions = field(repr=False)
    headers: Additions = field(repr=False)
    client_auth: ClientAuth
    default_lifetime: float
    lifetime: float | None
    max_lifetime: float | None
    timeout: float
    deadline: float
    verify: bool | str | ssl.SSLContext
    cert: str | tuple[str, str] | None = field(repr=False)
    proxies: tuple[tuple[str, str], ...] = field(repr=False)
    transport: Callable[[], requests.Session] | None = field(repr=False)

    def ask(self, request: TokenRequest, *, say: Callable[[str], None]) -> Token:
        """Post `request` once (RFC 6749 section 4).

        Args:
            request: what is sent.
            say: told what in the answer was not as it should be.

        Raises:
            GrantRefused, GrantUnavailable, InvalidTokenResponse: without a secret.
        """
        client = request.client
        asked_at = clock.now()
        answer = self._reach.post(
            self.token_url,
            [*request.form, *client.form],
            headers=[*request.headers, *client.headers],
        )
        granted = response.parse(
            answer,
            secrets=[*request.secrets, *client.secrets],
            timed=self.lifetime is None,
            other_method=client.other_method,
            remedy=request.remedy,
        )
        for note in granted.notes:
            say(note)
        return Token(
            value=granted.value,
            issued_at=asked_at.wall,
            expires_at=asked_at.wall + self._seconds(granted.lifetime, say),
            scope=granted.scope,
            refresh_token=granted.refresh_token,
            issued_boot=asked_at.boot,
            refresh_expires_at=_later(asked_at.wall, granted.refresh_lifetime),
        )

    def revoke(self, token: Token, *, client: Callable[[], Client]) -> None:
        """Revoke the refresh token where there is one, then the access token (RFC 7009).

        Raises:
            RevocationFailed: the server did not confirm, or there is no `revoke_url`.
        """
        if self.revoke_url is None:
            raise RevocationFailed(
                "the token lives on at the server: no revoke_url was given; it was forgotten here"
            )
        read = functools.partial(additions.read_fields, self.headers)
        revocation.revoke(self._reach, self.revoke_url, token, client=client, headers=read)

    def client(self, identity: str | None, secret: str | None, *, asserted: bool = False) -> Client:
        """The credentials of a client, as this server wants them.

        Args:
            identity: the client id.
            secret: its secret or, if `asserted`, an assertion in the place of one.
            asserted: whether `secret` is an assertion.

        Raises:
            GrantUnavailable: they cannot be sent.
        """
        method = "assertion" if asserted else self.client_auth
        return client_authentication.Client(identity, secret, method)

    @property
    def _reach(self) -> Endpoint:
        return endpoint.Endpoint(
            self.timeout, self.deadline, self.verify, self.cert, self.proxies, self.transport
        )

    def _seconds(self, told: float | None, say: Callable[[str], None]) -> float:
        """The lifetime of a token whose answer tells so many seconds, or none."""
        seconds = told if self.lifetime is None else self.lifetime
        if seconds is None:
            seconds = self.default_lifetime
            say(f"the answer names no expires_in: {seconds:g} s are assumed")
        return min(seconds, self.max_lifetime or math.inf)


def _later(moment: float, seconds: float | None) -> float | None:
    return None if seconds is None else moment + seconds
