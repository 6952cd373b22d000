"""Which tokens of a store a manager may use: those of its own credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from evertoken.errors import capture
from evertoken.ownership import fingerprint, source_of

if TYPE_CHECKING:
    from evertoken.core.token import TokenKey
    from evertoken.credentials import Credentials
    from evertoken.ownership import Source
    from evertoken.ports import Grant
    from evertoken.stores.memory import MemoryStore


class Claim(NamedTuple):
    """A manager's claim on what is stored under its identity.

    A store finds tokens by user name and client id, which say nothing of the password: without a
    check, a wrong one would receive the token that the right one obtained. Between processes the
    folder or the Redis is the boundary, so a token that comes from there belongs to the first
    manager that adopts it.

    Attributes:
        memory: remembers the owner of each token in this process.
        grant: whose credentials claim it.
        proof: whether they must have obtained a token in this process first.
    """

    memory: MemoryStore
    grant: Grant
    proof: bool

    @property
    def source(self) -> Source:
        """Where the credentials come from."""
        return source_of(self.grant)

    def recognised_unread(self, key: TokenKey) -> bool:
        """Whether the owner of `key` has the same source of credentials, or there is no owner."""
        owner = self.memory.owner(key)
        return owner is None or owner.matches(self.source, None)

    def admit_unread(self, key: TokenKey) -> bool:
        """As `admit`, by the source of the credentials alone, which are not read."""
        return self.memory.admit(key, self.source, proof=self.proof)

    def admit(self, credentials: Credentials, fingerprint: bytes) -> bool:
        """Whether `credentials` may use the stored tokens of their identity.

        Makes them the owner if there is none, unless the claim needs proof.
        """
        return self.memory.admit(
            credentials.key, credentials.source, fingerprint=fingerprint, proof=self.proof
        )

    def recognise(self, key: TokenKey) -> None:
        """Read the credentials of the owner of `key`, if only that can tell them from ours.

        It may call a user's callables, so no lock is held.
        """
        owner = self.memory.owner(key)
        if owner is None or owner.fingerprint is not None or self.source in owner.sources:
            return
        theirs = capture(lambda: fingerprint(owner.sources[0]))
        if isinstance(theirs, bytes):
            self.memory.recognise(key, owner, theirs)
