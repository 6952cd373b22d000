"""Encryption of stored entries with Fernet, including key rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from evertoken.runtime.lazy import loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.fernet import MultiFernet

EncryptionKey = str | bytes
"""A Fernet key: 32 bytes in URL-safe base64, as returned by `Fernet.generate_key()`."""


class Codec(Protocol):
    """Converts between an entry's bytes and the bytes that are stored."""

    def seal(self, data: bytes) -> bytes:
        """The bytes to store for `data`."""

    def unseal(self, stored: bytes) -> bytes | None:
        """The data in `stored`; None if it was sealed with another key, or modified."""


class Plain:
    """No encryption."""

    def seal(self, data: bytes) -> bytes:
        """`data` itself."""
        return data

    def unseal(self, stored: bytes) -> bytes | None:
        """`stored` itself."""
        return stored


class Sealed:
    """Encrypts and authenticates with Fernet (AES-128-CBC with HMAC-SHA256).

    The first key encrypts; every key decrypts. To rotate, add the new key as the last one in
    every process, then put it first, and drop the old one once the last token sealed with it has
    expired.

    Raises:
        ValueError: there is no key, or one is not a Fernet key. The error does not show the key.
        ImportError: the extra `encryption` is not installed.
    """

    def __init__(self, keys: Sequence[EncryptionKey]) -> None:
        self._fernet = _fernet(keys)

    def seal(self, data: bytes) -> bytes:
        """`data`, encrypted with the first key."""
        return self._fernet.encrypt(data)

    def unseal(self, stored: bytes) -> bytes | None:
        """The data, if it was sealed with one of the keys."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  an extra

        try:
            return self._fernet.decrypt(stored)
        except InvalidToken:
            return None

    def __repr__(self) -> str:
        return "<Sealed>"


def codec(key: EncryptionKey | Sequence[EncryptionKey] | None) -> Codec:
    """The codec of a store with this `encryption_key`; raises like `Sealed`."""
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
    # outside the except block, whose error may quote the key
    raise fault
