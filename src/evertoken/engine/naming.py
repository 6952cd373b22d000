"""Names an identity in logs and errors: the account and the token URL, never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from evertoken.core.token import TokenKey
    from evertoken.errors import TokenError
    from evertoken.ports import Grant

E = TypeVar("E", bound="TokenError")


def account_of(key: TokenKey) -> str:
    """The user name, or the client id of an identity without one."""
    return key.username or key.client_id or "a client without an id"


def describe(key: TokenKey) -> str:
    """The account and the token URL of `key`."""
    return f"{_printable(account_of(key))} at {key.token_url}"


def url_of(grant: Grant) -> str:
    """The token URL of `grant`, without reading its credentials."""
    url: object = getattr(grant, "token_url", None)
    return url if isinstance(url, str) else "the token endpoint"


def named(error: E, *, account: str | None, token_url: str) -> E:
    """Prefix the message of `error` with the account and the token URL, and return `error`."""
    whose = token_url if account is None else f"{_printable(account)} at {token_url}"
    error.args = (f"{whose}: {error}",)
    return error


def _printable(account: str) -> str:
    return account if account.isprintable() else ascii(account)[1:-1]
