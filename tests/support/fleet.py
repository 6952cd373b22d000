"""Helpers for tests of a fleet: a counting grant, sibling managers, bounded waiting."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from evertoken import FileStore, MemoryStore, RefreshPolicy, Token, TokenKey, TokenManager
from evertoken.testing.threads import BOUND as BOUND
from evertoken.testing.threads import in_threads as in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken import TokenError
    from evertoken.core.failure import Failure
    from evertoken.events import Event
    from evertoken.ports import TokenStore

HOUR = 3600.0


def eventually(condition: Callable[[], object], *, within: float = BOUND) -> None:
    """Wait until `condition` holds.

    Raises:
        AssertionError: it did not hold in time.
    """
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "the condition did not come to hold"
        threading.Event().wait(0.005)


class CountingGrant:
    """A grant without a server: counts, waits at a gate, fails on demand.

    Attributes:
        requests: the number of requests.
        failure: raised by every request, if not None.
        failures: raised by the next requests, one each.
        gate: requests wait here while it is cleared.
    """

    def __init__(self, *, lifetime: float = HOUR, key: TokenKey | None = None) -> None:
        unique = uuid.uuid4().hex
        self.key = key or TokenKey("https://tokens.example/oauth/token/", unique)
        self.lifetime = lifetime
        self.requests = 0
        self.credentials = "as they are"
        self.failure: TokenError | None = None
        self.failures: list[TokenError] = []
        self.revoked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def request(self) -> Token:
        with self._lock:
            self.requests += 1
            number = self.requests
            failure = self.failures.pop(0) if self.failures else self.failure
        assert self.gate.wait(BOUND)
        if failure is not None:
            raise failure.again()
        now = time.time()
        return Token(f"token-{number}-{uuid.uuid4().hex}", now, now + self.lifetime)

    def revoke(self, token: Token) -> None:
        self.revoked.append(token.value)

    def credentials_tag(self, salt: bytes) -> bytes:
        return hashlib.sha256(salt + self.credentials.encode()).digest()


def sibling(
    grant: CountingGrant,
    directory: Path | None = None,
    *,
    policy: RefreshPolicy | None = None,
    timeout: float = BOUND,
    keep_fresh: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> TokenManager:
    """A manager as in another process: it shares only the folder."""
    return TokenManager(
        grant,
        store=None if directory is None else FileStore(directory),
        memory=MemoryStore(),
        policy=policy or RefreshPolicy(),
        timeout=timeout,
        keep_fresh=keep_fresh,
        on_event=on_event,
    )


@contextmanager
def held(grant: CountingGrant) -> Iterator[CountingGrant]:
    """Make requests inside the block wait until its end."""
    grant.gate.clear()
    try:
        yield grant
    finally:
        grant.gate.set()


def token_in(store: TokenStore, key: TokenKey) -> Token | None:
    """The token that `store` holds for `key`."""
    entry = store.load(key)
    return None if entry is None else entry.token


def saved_refusal(folder: Path, key: TokenKey) -> Failure:
    """The single refusal stored for `key`, which is saved shortly after it was raised."""
    store = FileStore(folder)
    eventually(lambda: store.load(key) is not None)
    entry = store.load(key)
    assert entry is not None
    [refusal] = entry.refusals
    return refusal
