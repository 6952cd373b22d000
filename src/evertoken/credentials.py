"""One reading of a grant's credentials: the identity, the request and the memory of a refusal."""

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
    """What a grant's credentials were at one moment.

    A renewal reads them once, before it takes any lock: were they read again, a token could be
    stored under another user, and a refusal remembered for a password that was never posted.

    Attributes:
        key: whose token they ask for.
        source: where they came from.
        fingerprint: tells them from others inside this process; None where that takes a slow hash.
        request: posts them once and returns the token, as `Grant.request` does.
        tag: a slow salted hash of them, as `Grant.credentials_tag` makes it.
    """

    key: TokenKey
    source: Source = field(repr=False)
    fingerprint: bytes | None = field(repr=False)
    request: Callable[[], Token] = field(repr=False)
    tag: Callable[[bytes], bytes] = field(repr=False)


@runtime_checkable
class ReadableGrant(Protocol):
    """A grant whose credentials are read once for all that a renewal does with them.

    Without it, credentials that change in the middle of a renewal are noticed at the next one.
    """

    def read(self) -> Credentials:
        """The credentials as they are now.

        Raises:
            TokenError: a credential cannot be read.
        """


def read(grant: Grant) -> Credentials:
    """The credentials of `grant` now; raises what its callables raise."""
    if isinstance(grant, ReadableGrant):
        return grant.read()
    return Credentials(
        key=grant.key,
        source=source_of(grant),
        fingerprint=None,
        request=grant.request,
        tag=grant.credentials_tag,
    )
