"""A grant that spends a login: what starts one, and how a fallback takes over."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, NoReturn

from evertoken import credentials, ownership
from evertoken.credentials import Credentials
from evertoken.errors import GrantRefused, TokenError, capture, discreet
from evertoken.grants.credentials import read
from evertoken.grants.endpoint_grant import EndpointGrant, Own

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.token import Token
    from evertoken.grants.credentials import Secret
    from evertoken.ownership import Source
    from evertoken.ports import Grant


class LoginGrant(EndpointGrant):
    """An exclusive grant: its rotating refresh token may be spent once, by one process.

    Attributes:
        fallback: starts a new login when there is none.
    """

    __slots__ = ("_account", "_refresh_token", "fallback")

    _SECRETS: ClassVar = ("refresh_token", "client_secret")
    exclusive: ClassVar[bool] = True

    _account: Secret
    _refresh_token: Secret | None
    fallback: Grant | None

    @property
    def account(self) -> str | None:
        """The account if it is text: known before the credentials are read."""
        return self._account if isinstance(self._account, str) else None

    def _own(self) -> Own:
        account = read("account", self._account)
        return Own(account, [("grant_type", "refresh_token")], [], (account,))

    def _username_now(self) -> str:
        return read("account", self._account)

    @property
    def _sources(self) -> tuple[Secret | None, ...]:
        return self._account, self._refresh_token

    @property
    def source(self) -> Source:
        """Where the credentials come from, those of the fallback included."""
        mine = super().source
        return mine if self.fallback is None else (*mine, *ownership.source_of(self.fallback))

    @discreet
    def read(self) -> Credentials:
        """The credentials as they are now, those of the fallback included.

        If only the fallback's cannot be read, that is the error of a new login.
        """
        mine = super().read()
        assert mine.refresh is not None  # noqa: S101  it is an exclusive grant
        initial = None
        if self._refresh_token is not None:
            initial = read("refresh_token", self._refresh_token)
            mine = replace(
                mine,
                initial=initial,
                # code in this process that only knows the account's name must not get its token
                fingerprint=ownership.sealed([mine.fingerprint or b"", ownership.seal(initial)]),
            )
        other = None if self.fallback is None else capture(functools.partial(_read, self.fallback))
        if isinstance(other, Credentials):
            return _with_fallback(mine, other)
        request: Callable[[], Token] = functools.partial(_raise, other or _NO_LOGIN)
        return replace(mine, request=request)

    @discreet
    def request(self) -> Token:
        """Spend the initial refresh token, or start a new login with the fallback, without a store.

        A manager renews by `read` instead: it knows the successor.
        """
        found = self.read()
        if found.initial is None or found.refresh is None:
            return found.request()
        return found.refresh(found.initial)


_NO_LOGIN = GrantRefused("there is no refresh token: log in", error="invalid_grant", local=True)


def _read(grant: Grant) -> Credentials:
    return credentials.read(grant)


def _raise(error: TokenError) -> NoReturn:
    raise error.again()


def _with_fallback(mine: Credentials, other: Credentials) -> Credentials:
    """`mine`; what the fallback's server refused ends when either of the credentials change."""

    def tag(salt: bytes) -> bytes:
        return hashlib.blake2b(mine.tag(salt) + other.tag(salt), digest_size=32).digest()

    theirs = other.fingerprint or ownership.fingerprint(other.source)
    return replace(
        mine,
        request=other.request,
        fingerprint=ownership.sealed([mine.fingerprint or b"", theirs]),
        tag=tag,
    )
