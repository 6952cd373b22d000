"""Form parameters and header fields of the user's own, and what they add to the identity.

Each value is text, or a callable that is asked at each grant. Text among the parameters belongs to
the identity; what a callable returns there is a credential, such as a one-time password, which
differs each time. A header field belongs to the identity either way, since it may name a tenant:
by a hash, since it may be a secret.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from evertoken.core.token import TokenKey
from evertoken.errors import GrantUnavailable
from evertoken.grants.credentials import Secret, given, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Additions = tuple[tuple[str, Secret], ...]
"""Names and values, as they were given."""

Pairs = list[tuple[str, str]]
"""Names and values, as they are sent."""

# a colon would make it one of the header fields in a `TokenKey`
_PARAMETER = re.compile(r"[\x21-\x39\x3b-\x7e]+")
_TAKEN = frozenset(
    {
        *("grant_type", "client_id", "client_secret", "scope"),
        *("username", "password", "refresh_token"),
        *("client_assertion", "client_assertion_type"),
    }
)
"""Parameters that have an option of their own."""

# RFC 9110 sections 5.1 and 5.5, without characters beyond ASCII
_FIELD_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\x21-\x7e]+(?:[ \t]+[\x21-\x7e]+)*")
_OWN_FIELDS = {
    "authorization": "client_auth chooses how the client authenticates",
    "proxy-authorization": "put the login into the proxy's URL",
    **dict.fromkeys(
        (
            *("accept-encoding", "connection", "content-encoding", "content-length"),
            *("content-type", "expect", "te", "trailer", "transfer-encoding", "upgrade"),
        ),
        "the request frames itself",
    ),
}

DESCRIPTIVE = frozenset({"accept", "accept-language", "user-agent"})
"""Header fields that say who asks and how: no part of the identity, and no secret."""


def parameters(extra: Mapping[str, Secret] | None) -> Additions:
    """`extra`, fit to be sent in a form.

    Raises:
        ValueError: a name that has an option of its own or none may have, or an empty value.
        TypeError: a value that is neither text nor callable.
    """
    for name in extra or ():
        if name in _TAKEN:
            raise ValueError(f"extra: {name} has an option of its own")
        if not _PARAMETER.fullmatch(name):
            raise ValueError(f"extra: {name!r} is not the name of a parameter")
    return tuple((name, given(f"extra {name}", value)) for name, value in (extra or {}).items())


def fields(headers: Mapping[str, Secret] | None) -> Additions:
    """`headers`, fit to be sent.

    Raises:
        ValueError: a name or a value that none may have, or a field that the request sets itself.
        TypeError: a value that is neither text nor callable.
    """
    names = [name.lower() for name in headers or ()]
    for name, lowered in zip(headers or (), names, strict=True):
        if not _FIELD_NAME.fullmatch(name) or names.count(lowered) > 1:
            raise ValueError(f"headers: {name!r} is not the name of a field, or is there twice")
        if reason := _OWN_FIELDS.get(lowered):
            raise ValueError(f"headers: {name} cannot be set: {reason}")
    found = tuple((name, given(f"header {name}", value)) for name, value in (headers or {}).items())
    for name, value in found:
        if isinstance(value, str) and not _FIELD_VALUE.fullmatch(value):
            raise ValueError(_unfit(name))
    return found


def read_parameters(extra: Additions) -> Pairs:
    """The parameters as they are now; raises what their callables raise."""
    return [(name, read(f"extra {name}", value)) for name, value in extra]


def read_fields(headers: Additions) -> Pairs:
    """The header fields as they are now.

    Raises:
        GrantUnavailable: one cannot be read, or has characters that none may have.
    """
    pairs = [(name, read(f"header {name}", value)) for name, value in headers]
    for name, value in pairs:
        if not _FIELD_VALUE.fullmatch(value):
            raise GrantUnavailable(_unfit(name), local=True)
    return pairs


def secret_values(additions: Additions, sent: Pairs) -> list[str]:
    """The values in `sent` that came from callables."""
    return [
        value for (_, source), (_, value) in zip(additions, sent, strict=True) if callable(source)
    ]


def literal_secrets(headers: Additions) -> list[str]:
    """The names of the header fields that were given as text and may be secrets."""
    return [name for name, value in headers if isinstance(value, str) and _tells(name)]


def key_of(
    token_url: str,
    *,
    client_id: str | None,
    username: str | None = None,
    scope: str | None = None,
    extra: Additions = (),
    headers: Iterable[tuple[str, str]] = (),
) -> TokenKey:
    """The identity of what these ask for; `headers` as they are sent."""
    named = ((name, value) for name, value in extra if isinstance(value, str))
    return TokenKey(token_url, client_id, username, scope, (*named, *_tenancy(headers)))


def _tenancy(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if _tells(name):
            yield f"{name.lower()}:", hashlib.sha256(value.encode()).hexdigest()[:32]


def _tells(name: str) -> bool:
    return name.lower() not in DESCRIPTIVE


def _unfit(name: str) -> str:
    return f"header {name}: its value must be printable ASCII, without spaces at its ends"
