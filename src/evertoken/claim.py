"""Which tokens of a store a manager may use: those of its own credentials."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from evertoken.errors import capture
from evertoken.ownership import fingerprint, source_of
from evertoken.token import Refusal, token_of

if TYPE_CHECKING:
    from evertoken.credentials import Credentials
    from evertoken.ownership import Source
    from evertoken.ports import Grant
    from evertoken.stores.memory import MemoryStore
    from evertoken.token import Entry, TokenKey


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

    def covered(self, key: TokenKey, entry: Entry | None) -> Entry | None:
        """`entry`, without its token where that is not the manager's; reads no credentials."""
        if token_of(entry) is None or self.memory.admits(key, self.source, proof=self.proof):
            return entry
        return replace(entry, token=None) if isinstance(entry, Refusal) else None

    def identified(self, credentials: Credentials) -> bytes | None:
        """The fingerprint by which `credentials` are recognised; None where their source says it.

        It may ask callables, the owner's too, so it is called before any lock is taken.
        """
        owner = self.memory.owner(credentials.key)
        if owner is None or credentials.source in owner.sources:
            return credentials.fingerprint
        if owner.fingerprint is None:
            theirs = capture(lambda: fingerprint(owner.sources[0]))
            if isinstance(theirs, bytes):
                self.memory.recognise(credentials.key, owner, theirs)
        ours = credentials.fingerprint or capture(lambda: fingerprint(credentials.source))
        return ours if isinstance(ours, bytes) else None
