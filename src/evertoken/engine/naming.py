"""Names an identity in logs and errors: the account and the token URL, never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, TypeVar

if TYPE_CHECKING:
    from evertoken.core.token import TokenKey
    from evertoken.errors import TokenError
    from evertoken.ports import Grant

E = TypeVar("E", bound="TokenError")


class Whose(TypedDict):
    """The identity that an event or a status is about; None for unknown parts."""

    account: str | None
    token_url: str | None


def whose(key: TokenKey | None, grant: Grant) -> Whose:
    """The account and the token URL of `key`, or of `grant` before its key is known.

    Calls no callable.
    """
    if key is not None:
        return {"account": key.username or key.client_id, "token_url": key.token_url}
    return {"account": _text(grant, "account"), "token_url": _text(grant, "token_url")}


def phrase(whose: Whose) -> str:
    """`whose` as text for a log record."""
    account, url = whose["account"], whose["token_url"] or "the token endpoint"
    return url if account is None else f"{_printable(account)} at {url}"


def account_of(key: TokenKey) -> str:
    """The user name, or the client id of an identity without one."""
    return key.username or key.client_id or "a client without an id"


def describe(key: TokenKey) -> str:
    """The account and the token URL of `key`."""
    return f"{_printable(account_of(key))} at {key.token_url}"


def url_of(grant: Grant) -> str:
    """The token URL of `grant`, without reading its credentials."""
    return _text(grant, "token_url") or "the token endpoint"


def named(error: E, *, account: str | None, token_url: str | None) -> E:
    """Prefix the message of `error` with the account and the token URL, and return `error`."""
    error.args = (f"{phrase({'account': account, 'token_url': token_url})}: {error}",)
    return error


def _text(grant: Grant, attribute: str) -> str | None:
    value: object = getattr(grant, attribute, None)
    return value if isinstance(value, str) else None


def _printable(account: str) -> str:
    return account if account.isprintable() else ascii(account)[1:-1]
