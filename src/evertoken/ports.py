"""The seams: what a grant and a store must offer to be exchangeable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from evertoken.core.entry import Entry
    from evertoken.core.hold import Hold
    from evertoken.core.token import Token, TokenKey


@runtime_checkable
class Grant(Protocol):
    """One way to ask a token endpoint for a token (RFC 6749 section 4)."""

    @property
    def key(self) -> TokenKey:
        """Whose token it asks for."""

    def request(self) -> Token:
        """Ask once, bounded in time and size.

        Raises:
            TokenError: with no secret in it or hanging on it.
        """

    def revoke(self, token: Token) -> None:
        """Revoke it and its refresh token (RFC 7009).

        Raises:
            RevocationFailed: the server did not confirm, or cannot be asked.
        """

    def credentials_tag(self, salt: bytes) -> bytes:
        """A slow salted hash of the credentials: tells changed ones from those refused."""


@runtime_checkable
class TokenStore(Protocol):
    """Shares what is known about an identity. Whatever the medium does, no method raises."""

    def load(self, key: TokenKey) -> Entry | None:
        """The entry; None for what is absent, unreadable or not to be trusted."""

    def save(self, key: TokenKey, entry: Entry) -> Entry | None:
        """Join `entry` to what is held, as one step (`core.entry.join_at`).

        Returns:
            What the store holds afterwards. None if it was not saved: the medium is away, busy or
            full, or holds a newer schema, which is never overwritten.
        """

    def lock(self, key: TokenKey, *, timeout: float) -> AbstractContextManager[Hold]:
        """Hold the identity's lock.

        `BUSY` if another process holds it beyond `timeout` seconds, `ABSENT` if the medium offers
        no lock. A `timeout` of 0 means that the renewal can be put off: a medium that is away for
        the moment answers `BUSY`, so that it is tried again.
        """


@runtime_checkable
class ClockedStore(TokenStore, Protocol):
    """A store with a clock of its own, by which all machines that share it count generations."""

    @property
    def ahead(self) -> float:
        """Seconds by which its clock was ahead of this machine's when it was read last."""


@runtime_checkable
class LeasedStore(TokenStore, Protocol):
    """A store whose lock can be lost while it is held: a lease ends, a lock file is removed."""

    def still_held(self, key: TokenKey) -> bool:
        """Whether the lock of `key` that this process took is still its own.

        False also if the medium does not say.
        """


@runtime_checkable
class RemoteStore(TokenStore, Protocol):
    """A store across a network: looked at in the background, and as rarely as it says."""

    @property
    def recheck(self) -> float:
        """Seconds between two looks of a process whose token is fresh.

        For so long a process may still send a token that was revoked by another.
        """


@runtime_checkable
class FallibleStore(TokenStore, Protocol):
    """A store that can tell whether it serves."""

    def trouble(self, key: TokenKey) -> str | None:
        """Why it does not serve `key` for now, without a secret; None: it does."""


def trouble_of(store: TokenStore, key: TokenKey) -> str | None:
    """Why `store` does not serve `key` for now, where it can tell."""
    return store.trouble(key) if isinstance(store, FallibleStore) else None


def name_of(store: TokenStore) -> str:
    """What events and the log call `store`: its `name`, where it has one."""
    name: object = getattr(store, "name", None)
    return name if isinstance(name, str) else "store"
