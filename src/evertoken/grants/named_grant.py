"""What a grant without a token endpoint shares with others: a name for its identity."""

from __future__ import annotations

import hashlib
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Self

from evertoken import ownership
from evertoken.core.token import TokenKey
from evertoken.credentials import Credentials
from evertoken.errors import discreet
from evertoken.grants.credentials import given, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.token import Token
    from evertoken.grants.credentials import Secret
    from evertoken.grants.fetched import Fetched


class NamedGrant:
    """A grant whose identity is a name; a subclass says how a token is obtained.

    Two of them are equal, and share their tokens inside a process, if `how` is equal.

    Args:
        name: the identity.
        how: what obtains the token.
        credentials: what tells changed credentials from refused ones.

    Raises:
        ValueError: an empty name.
    """

    __slots__ = ("_credentials", "_how", "name")

    def __init__(self, name: str, how: Callable[[], Fetched], credentials: Secret | None) -> None:
        if not name:
            raise ValueError("name is empty: it is the identity of the token")
        self.name: str = name
        self._how = how
        self._credentials = None if credentials is None else given("credentials", credentials)

    @property
    def token_url(self) -> str:
        """In place of a URL, in logs and errors."""
        return f"function:{self.name}"

    @property
    def account(self) -> str:
        """The name, for errors and events before the credentials are read."""
        return self.name

    @property
    def key(self) -> TokenKey:
        """Whose token it is."""
        return TokenKey(self.token_url, username=self.name)

    def request(self) -> Token:
        """Ask for a token once."""
        raise NotImplementedError

    @discreet
    def read(self) -> Credentials:
        """The credentials as they are now.

        Raises:
            GrantUnavailable: their callable raised.
        """
        text = self._told()
        # another function may log in as somebody else: inside a process it must not share a token
        parts = f"{self._hash_of_how()}", text
        return Credentials(
            key=self.key,
            source=(self,),
            fingerprint=ownership.sealed(map(ownership.seal, parts)),
            request=self.request,
            tag=lambda salt: _slow_hash(text, salt),
        )

    @discreet
    def credentials_tag(self, salt: bytes) -> bytes:
        """A scrypt hash of what tells the credentials from others."""
        return _slow_hash(self._told(), salt)

    def _told(self) -> str:
        return "" if self._credentials is None else read("credentials", self._credentials)

    def _hash_of_how(self) -> int:
        try:
            return hash(self._how)
        except TypeError:
            return id(self._how)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NamedGrant):
            return NotImplemented
        same = self.name == other.name and self._credentials == other._credentials
        return same and self._how == other._how

    def __hash__(self) -> int:
        return hash((self.name, self._hash_of_how()))

    def __deepcopy__(self, memo: object) -> Self:
        # it never changes, and a copy would duplicate secrets
        return self

    def __getstate__(self) -> object:
        literal = isinstance(self._credentials, str)
        if literal or not isinstance(self._how, FunctionType | BuiltinFunctionType | type):
            what = "its credentials as text" if literal else "anything but a plain function"
            raise TypeError(
                f"a {type(self).__name__} with {what} does not pickle, so that no secret travels "
                "by accident: give functions of a module, which read the secret themselves"
            )
        return super().__getstate__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def _slow_hash(text: str, salt: bytes) -> bytes:
    return hashlib.scrypt(text.encode(), salt=salt, n=2**14, r=8, p=1)
