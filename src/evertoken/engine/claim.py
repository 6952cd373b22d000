"""Which stored tokens a manager may use: those of its own credentials."""

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
    """A manager's claim on the token stored for its identity.

    A store finds tokens by user name and client id, not by password. Without this check a manager
    with a wrong password would receive the token that the right one obtained. Between processes the
    folder or the Redis server is the trust boundary, so a token from there belongs to the first
    manager that adopts it.

    Attributes:
        memory: remembers the owner of each token in this process.
        grant: whose credentials claim it.
        proof: whether the credentials must first obtain a token in this process.
    """

    memory: MemoryStore
    grant: Grant
    proof: bool

    @property
    def source(self) -> Source:
        """The source of the credentials."""
        return source_of(self.grant)

    def recognised_unread(self, key: TokenKey) -> bool:
        """Whether `key` has no owner, or one with the same source of credentials."""
        owner = self.memory.owner(key)
        return owner is None or owner.matches(self.source, None)

    def admit_unread(self, key: TokenKey) -> bool:
        """Like `admit`, but compares only the source of the credentials and does not read them."""
        return self.memory.admit(key, self.source, proof=self.proof)

    def admit(self, credentials: Credentials, fingerprint: bytes) -> bool:
        """Whether `credentials` may use the stored tokens of their identity.

        If there is no owner, they become the owner, unless the claim requires proof.
        """
        return self.memory.admit(
            credentials.key, credentials.source, fingerprint=fingerprint, proof=self.proof
        )

    def recognise(self, key: TokenKey) -> None:
        """Read the owner's credentials, if that is the only way to compare them with ours.

        May call a user's callables, so no lock is held.
        """
        owner = self.memory.owner(key)
        if owner is None or owner.fingerprint is not None or self.source in owner.sources:
            return
        theirs = capture(lambda: fingerprint(owner.sources[0]))
        if isinstance(theirs, bytes):
            self.memory.recognise(key, owner, theirs)
