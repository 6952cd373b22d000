"""Encryption: valid keys, and the errors for invalid ones."""

from __future__ import annotations

import sys

import pytest
from cryptography.fernet import Fernet

from evertoken.stores.encryption import codec


def test_without_a_key_bytes_are_not_changed() -> None:
    plain = codec(None)
    assert plain.unseal(plain.seal(b"data")) == b"data"
    assert plain.seal(b"data") == b"data"


def test_modified_bytes_do_not_decrypt() -> None:
    sealed = codec(Fernet.generate_key())
    stored = bytearray(sealed.seal(b"data"))
    stored[20] ^= 1
    assert sealed.unseal(bytes(stored)) is None
    assert sealed.unseal(b"\xff\xfe") is None


@pytest.mark.parametrize("key", ["planted-key", b"planted bytes", [], ["planted", "list"], [None]])
def test_a_malformed_key_is_reported_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="generate_key") as caught:
        codec(key)
    assert "planted" not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_codec_shows_no_key() -> None:
    assert repr(codec(Fernet.generate_key())) == "<Sealed>"


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(ImportError, match=r'run pip install -e "\.\[encryption\]"'):
        codec("any")
