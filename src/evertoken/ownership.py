"""Whose credentials an identity's token belongs to inside this process, without keeping them."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evertoken.ports import Grant

Source = tuple[object, ...]
"""Where a grant's credentials come from: a seal for each text, a callable itself, or the grant.

If all of them are text, it is their fingerprint alone. Two grants with equal sources have the same
credentials, and neither has to be read to know that.
"""

# in memory only, and another one in each process: a seal is worthless anywhere else
_SEAL_KEY = os.urandom(32)

MAX_SOURCES = 4
"""Sources that are remembered for one owner; beyond it the oldest one is read again."""


class Owner(NamedTuple):
    """Whose credentials the token of an identity belongs to in this process.

    Attributes:
        sources: where those credentials come from, the newest first.
        fingerprint: of the credentials; None while nobody has had to read them.
        proven: whether they obtained a token; else they only adopted one from a store first.
    """

    sources: tuple[Source, ...]
    fingerprint: bytes | None
    proven: bool

    def matches(self, source: Source, fingerprint: bytes | None) -> bool:
        """Whether credentials from `source` are the owner's; None: they have not been read."""
        known = fingerprint is not None and fingerprint == self.fingerprint
        return known or source == (self.fingerprint,) or source in self.sources

    def joined_by(self, source: Source) -> Owner:
        """This owner with `source` added: it then matches without reading its credentials."""
        # the source of text is its fingerprint, and a process may know thousands of owners
        if source == (self.fingerprint,):
            return self
        others = (known for known in self.sources if known != source)
        return self._replace(sources=(source, *others)[:MAX_SOURCES])


def seal(text: str) -> bytes:
    """A keyed hash of `text`, which means nothing outside this process."""
    return _hash(text.encode(errors="surrogatepass"))


def source(given: Iterable[str | Callable[[], str] | None]) -> Source:
    """Where credentials that were given as text or callables come from."""
    parts = tuple(_part(each) for each in given)
    seals = [part for part in parts if isinstance(part, bytes)]
    # a manager keeps this, and one seal takes the room of one
    return (sealed(seals),) if len(seals) == len(parts) else parts


def _part(given: str | Callable[[], str] | None) -> object:
    if given is None:
        return b""
    return seal(given) if isinstance(given, str) else given


def source_of(grant: Grant) -> Source:
    """Where the credentials of `grant` come from; the grant itself where it does not say."""
    source: object = getattr(grant, "source", None)
    return cast("Source", source) if isinstance(source, tuple) else (grant,)


def fingerprint(source: Source) -> bytes:
    """The fingerprint of the credentials that `source` gives now; asks its callables."""
    match source:
        case (bytes() as known,):
            return known
    return sealed(map(_sealed_part, source))


def fingerprint_of(parts: Iterable[str | None], source: Source) -> bytes:
    """The fingerprint of `parts`, the credentials as `source` was just seen to give them."""
    match source:
        case (bytes() as known,):
            return known  # the same object, which the manager keeps already
    return sealed(seal(part) if part else b"" for part in parts)


def sealed(parts: Iterable[bytes]) -> bytes:
    """One fingerprint of several seals, in their order."""
    return _hash(b"".join(parts))


def _hash(content: bytes) -> bytes:
    # 16 bytes tell any two apart
    return hashlib.blake2b(content, digest_size=16, key=_SEAL_KEY).digest()


def _sealed_part(part: object) -> bytes:
    if isinstance(part, bytes):
        return part
    if callable(part):
        return seal(cast("Callable[[], str]", part)())
    # a grant that has no sources to compare still tells changed credentials apart
    return cast("Grant", part).credentials_tag(_SEAL_KEY)
