"""Which credentials own an identity's token in this process, without storing the credentials."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evertoken.ports import Grant

Source = tuple[object, ...]
"""Where a grant's credentials come from: the seal of each text, each callable, or the grant.

If all of them are text, it is only their fingerprint. Two grants with equal sources have the same
credentials, which need not be read to know that.
"""

# in memory only and different in each process, so that a seal is worthless anywhere else
_SEAL_KEY = os.urandom(32)

MAX_SOURCES = 4
"""The number of sources remembered for one owner; an older one is read again."""


class Owner(NamedTuple):
    """The credentials that own the token of an identity in this process.

    Attributes:
        sources: where those credentials come from, newest first.
        fingerprint: of the credentials; None while nothing has had to read them.
        proven: whether they obtained a token, rather than only adopting one from a store.
    """

    sources: tuple[Source, ...]
    fingerprint: bytes | None
    proven: bool

    def matches(self, source: Source, fingerprint: bytes | None) -> bool:
        """Whether credentials from `source` are the owner's; `fingerprint` is None if not read."""
        known = fingerprint is not None and fingerprint == self.fingerprint
        return known or source == (self.fingerprint,) or source in self.sources

    def joined_by(self, source: Source) -> Owner:
        """This owner with `source` added, which then matches without being read."""
        # text has its fingerprint as source: not stored again, as a process may have thousands of
        # owners
        if source == (self.fingerprint,):
            return self
        others = (known for known in self.sources if known != source)
        return self._replace(sources=(source, *others)[:MAX_SOURCES])


def seal(text: str) -> bytes:
    """A keyed hash of `text`, which means nothing outside this process."""
    return _hash(text.encode(errors="surrogatepass"))


def source(given: Iterable[str | Callable[[], str] | None]) -> Source:
    """The source of credentials given as text or callables."""
    parts = tuple(_part(each) for each in given)
    seals = [part for part in parts if isinstance(part, bytes)]
    # a single seal, since each manager keeps it
    return (sealed(seals),) if len(seals) == len(parts) else parts


def _part(given: str | Callable[[], str] | None) -> object:
    if given is None:
        return b""
    return seal(given) if isinstance(given, str) else given


def source_of(grant: Grant) -> Source:
    """The source of the credentials of `grant`; the grant itself if it does not provide one."""
    source: object = getattr(grant, "source", None)
    return cast("Source", source) if isinstance(source, tuple) else (grant,)


def fingerprint(source: Source) -> bytes:
    """The fingerprint of the credentials that `source` gives now; calls its callables."""
    match source:
        case (bytes() as known,):
            return known
    return sealed(map(_sealed_part, source))


def fingerprint_of(parts: Iterable[str | None], source: Source) -> bytes:
    """The fingerprint of `parts`, the credentials just read from `source`."""
    match source:
        case (bytes() as known,):
            return known  # the object that the manager keeps already
    return sealed(seal(part) if part else b"" for part in parts)


def sealed(parts: Iterable[bytes]) -> bytes:
    """One fingerprint for several seals, in their order."""
    return _hash(b"".join(parts))


def _hash(content: bytes) -> bytes:
    # 16 bytes are enough to tell any two apart
    return hashlib.blake2b(content, digest_size=16, key=_SEAL_KEY).digest()


def _sealed_part(part: object) -> bytes:
    if isinstance(part, bytes):
        return part
    if callable(part):
        return seal(cast("Callable[[], str]", part)())
    # a grant without a source can still detect changed credentials by its tag
    return cast("Grant", part).credentials_tag(_SEAL_KEY)
