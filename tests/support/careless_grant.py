"""A grant that breaks the rules of `GrantContract`; runs in a separate pytest."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import GrantRefused, GrantUnavailable, Token, TokenKey
from evertoken.testing import GrantContract
from support.token_client import form_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.testing import TokenServer


class Careless:
    """A careless grant: each of its faults breaks one rule of the contract."""

    def __init__(self, server: TokenServer) -> None:
        self.form = form_of(server)
        self.url = server.token_url

    def __repr__(self) -> str:
        return f"Careless({self.form})"

    @property
    def key(self) -> TokenKey:
        return TokenKey(self.url, self.form["client_id"], self.form["password"])

    def request(self) -> Token:
        logging.getLogger(__name__).debug("posting %s", self.form)
        requests.post(self.url, self.form, timeout=10)
        answer = requests.post(self.url, self.form, timeout=10)
        if answer.status_code == 503:
            raise GrantRefused(f"refused: {self.form}")
        try:
            found = answer.json()
            return Token(found["access_token"] + " ", 0.0, float("inf"))
        except Exception as error:
            raise GrantUnavailable("no token") from error

    def revoke(self, token: Token) -> None:
        raise LookupError(token.value)

    def credentials_tag(self, salt: bytes) -> bytes:
        return hashlib.sha256(self.form["password"].encode()).digest() + b"" * len(salt)


class TestCareless(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server: TokenServer) -> Callable[[], Careless]:
        return lambda: Careless(token_server)
