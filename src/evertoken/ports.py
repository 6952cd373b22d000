"""The protocols of grants and stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from evertoken.core.entry import Entry
    from evertoken.core.hold import Hold
    from evertoken.core.token import Token, TokenKey


@runtime_checkable
class Grant(Protocol):
    """One way to request a token from a token endpoint (RFC 6749 section 4)."""

    @property
    def key(self) -> TokenKey:
        """The identity that it requests a token for."""

    def request(self) -> Token:
        """Send one request, bounded in time and size.

        Raises:
            TokenError: without a secret in it, its cause or its context.
        """

    def revoke(self, token: Token) -> None:
        """Revoke `token` and its refresh token (RFC 7009).

        Raises:
            RevocationFailed: the server did not confirm, or cannot be reached.
        """

    def credentials_tag(self, salt: bytes) -> bytes:
        """A slow salted hash of the credentials, to tell changed ones from those refused."""


@runtime_checkable
class TokenStore(Protocol):
    """Shares what is known about an identity. No method raises, whatever the medium does."""

    def load(self, key: TokenKey) -> Entry | None:
        """The entry; None if it is absent, unreadable or not trusted."""

    def save(self, key: TokenKey, entry: Entry) -> Entry | None:
        """Join `entry` to the stored one, atomically (`core.entry.join_at`).

        Returns:
            The stored entry. None if it was not saved: the medium is unreachable, busy or full, or
            holds a newer schema, which is never overwritten.
        """

    def lock(self, key: TokenKey, *, timeout: float) -> AbstractContextManager[Hold]:
        """Hold the identity's lock.

        Yields `BUSY` if another process holds it beyond `timeout` seconds, `ABSENT` if the medium
        does not support locks. A `timeout` of 0 means that the renewal can be put off: an
        unreachable medium yields `BUSY`, so that it is tried again.
        """


@runtime_checkable
class ClockedStore(TokenStore, Protocol):
    """A store with its own clock, which all machines that share it use for generations."""

    @property
    def ahead(self) -> float:
        """Seconds by which its clock was ahead of this machine's when last read."""


@runtime_checkable
class LeasedStore(TokenStore, Protocol):
    """A store whose lock can be lost while held: a lease ends, a lock file is removed."""

    def still_held(self, key: TokenKey) -> bool:
        """Whether this process still holds the lock of `key`.

        Also False if the medium does not answer.
        """


@runtime_checkable
class RemoteStore(TokenStore, Protocol):
    """A store on a network, which is polled in the background at its own interval."""

    @property
    def recheck(self) -> float:
        """Seconds between two polls by a process whose token is fresh.

        Until the next poll, a process may still send a token that another one revoked.
        """


@runtime_checkable
class FallibleStore(TokenStore, Protocol):
    """A store that can report that it is failing."""

    def trouble(self, key: TokenKey) -> str | None:
        """Why the store does not work for `key` at present, without secrets; None if it does."""


def trouble_of(store: TokenStore, key: TokenKey) -> str | None:
    """Why `store` does not work for `key` at present; None if it does, or cannot tell."""
    return store.trouble(key) if isinstance(store, FallibleStore) else None


def name_of(store: TokenStore) -> str:
    """The name of `store` in events and logs: its `name`, or "store"."""
    name: object = getattr(store, "name", None)
    return name if isinstance(name, str) else "store"
