"""Entries sealed for stores that others can read: Fernet, with rotation of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from evertoken.runtime.lazy import loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.fernet import MultiFernet

EncryptionKey = str | bytes
"""A Fernet key: 32 bytes in URL-safe base64, as `Fernet.generate_key()` makes it."""


class Codec(Protocol):
    """How the bytes of an entry are kept."""

    def seal(self, data: bytes) -> bytes:
        """What is stored for `data`."""

    def unseal(self, stored: bytes) -> bytes | None:
        """The data in `stored`; None where it was sealed otherwise, or changed."""


class Plain:
    """Kept as they are."""

    def seal(self, data: bytes) -> bytes:
        """`data` itself."""
        return data

    def unseal(self, stored: bytes) -> bytes | None:
        """`stored` itself."""
        return stored


class Sealed:
    """Encrypted and authenticated by Fernet (AES-128-CBC with HMAC-SHA256).

    The first key seals, all of them open: to rotate, put the new key first, and drop the old one
    once the last token that it sealed has expired.

    Raises:
        ValueError: no key, or one that is none of Fernet's; the key itself is not shown.
        ImportError: the extra `encryption` is not installed.
    """

    def __init__(self, keys: Sequence[EncryptionKey]) -> None:
        self._fernet = _fernet(keys)

    def seal(self, data: bytes) -> bytes:
        """`data`, encrypted by the first key."""
        return self._fernet.encrypt(data)

    def unseal(self, stored: bytes) -> bytes | None:
        """The data, if one of the keys sealed it."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  an extra

        try:
            return self._fernet.decrypt(stored)
        except InvalidToken:
            return None

    def __repr__(self) -> str:
        return "<Sealed>"


def codec(key: EncryptionKey | Sequence[EncryptionKey] | None) -> Codec:
    """How a store with this `encryption_key` keeps its entries; raises as `Sealed` does."""
    if key is None:
        return Plain()
    return Sealed([key] if isinstance(key, str | bytes) else key)


def _fernet(keys: Sequence[EncryptionKey]) -> MultiFernet:
    try:
        with loading:
            from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415  an extra
    except ImportError:
        from evertoken.runtime.extras import how_to_install  # noqa: PLC0415  for this error alone

        fault: Exception = ImportError(
            f"encryption_key needs the package cryptography: {how_to_install('encryption')}"
        )
    else:
        try:
            return MultiFernet([Fernet(key) for key in keys])
        except (ValueError, TypeError):
            fault = ValueError(
                "encryption_key must be a Fernet key, or a list of at least one: make one with "
                "cryptography.fernet.Fernet.generate_key()"
            )
    # outside of the except, whose error may quote the key
    raise fault
