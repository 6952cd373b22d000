"""A Valkey server for all tests of a module, emptied before each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from evertoken.core.entry import Entry
from evertoken.core.token import Token, TokenKey
from support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = TokenKey("https://tokens.example/oauth/token/", "client", "someone@example.com")


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def valkey(server: Valkey) -> Valkey:
    server.client.flushall()
    server.client.config_resetstat()
    return server


@pytest.fixture
def key() -> TokenKey:
    return KEY


@pytest.fixture
def issued() -> Callable[..., Entry]:
    """Makes an entry with a token issued `ago` seconds ago."""

    def make(value: str, *, ago: float = 0.0, lifetime: float = 3600.0) -> Entry:
        at = time.time() - ago
        return Entry(token=Token(value, at, at + lifetime, generation=int(at)))

    return make
