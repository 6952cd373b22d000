"""One reading of a grant's credentials, which a whole renewal uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from evertoken.ownership import Source, source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.token import Token, TokenKey
    from evertoken.ports import Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A grant's credentials at one moment.

    A renewal reads them once, before it takes any lock. If it read them again, it could store a
    token under another user, or remember a refusal for a password that was never posted.

    Attributes:
        key: the identity that they request a token for.
        source: where they came from, as `ownership.source` describes it.
        fingerprint: identifies them inside this process; None if that takes a slow hash.
        request: posts them once and returns the token, like `Grant.request`.
        tag: a slow salted hash of them, like `Grant.credentials_tag`.
        refresh: posts a refresh token once (RFC 6749 section 6); None unless the grant is
            `exclusive`. `request` then starts a new login, if the grant has credentials for one.
        initial: the refresh token that such a grant was configured with.
    """

    key: TokenKey
    source: Source = field(repr=False)
    fingerprint: bytes | None = field(repr=False)
    request: Callable[[], Token] = field(repr=False)
    tag: Callable[[bytes], bytes] = field(repr=False)
    refresh: Callable[[str], Token] | None = field(default=None, repr=False)
    initial: str | None = field(default=None, repr=False)


@runtime_checkable
class ReadableGrant(Protocol):
    """A grant whose credentials are read once per renewal.

    With any other grant, credentials that change during a renewal are noticed at the next one.
    """

    def read(self) -> Credentials:
        """Read the credentials now.

        Raises:
            TokenError: a credential cannot be read.
        """


def read(grant: Grant) -> Credentials:
    """Read the credentials of `grant` now; its callables may raise."""
    if isinstance(grant, ReadableGrant):
        return grant.read()
    return Credentials(
        key=grant.key,
        source=source_of(grant),
        fingerprint=None,
        request=grant.request,
        tag=grant.credentials_tag,
    )
