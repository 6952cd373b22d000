"""The engine does not mix identities, call listeners under a lock, or loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from evertoken import (
    FileStore,
    GrantRefused,
    GrantUnavailable,
    MemoryStore,
    Token,
    TokenError,
    TokenKey,
    TokenManager,
)
from evertoken.core.effects import RenewalRequest
from evertoken.core.failure import Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.outcome import Result, Source
from evertoken.core.state import EMPTY
from evertoken.engine.driver import Driver
from evertoken.engine.in_flight import InFlight
from evertoken.events import TokenRefused
from evertoken.runtime import clock
from support.fleet import HOUR, CountingGrant, sibling, token_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evertoken.core.entry import Entry
    from evertoken.events import Event

ALICE = TokenKey("https://tokens.example/oauth/token/", "client", "alice")
BOB = TokenKey("https://tokens.example/oauth/token/", "client", "bob")
REFUSED = GrantRefused("refused: invalid_grant", status=400, error="invalid_grant")


class Interrupted(MemoryStore):
    """A memory store that calls a function at its next load."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] | None = None

    def load(self, key: TokenKey) -> Entry | None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().load(key)


@pytest.mark.parametrize("end", ["invalidate", "revoke"])
def test_ending_a_token_while_the_identity_changes_does_not_affect_the_new_identity(  # S49
    tmp_path: Path, end: str
) -> None:
    grant, memory = CountingGrant(key=ALICE), Interrupted()
    manager = TokenManager(grant, store=FileStore(tmp_path), memory=memory, timeout=20)
    of_alice = manager.token()

    def become_bob() -> None:
        grant.key = BOB
        manager.refresh()

    memory.meanwhile = become_bob
    if end == "invalidate":
        manager.invalidate(of_alice)
    else:
        manager.revoke()

    of_bob = manager.token()
    assert of_bob != of_alice
    assert token_in(FileStore(tmp_path), ALICE) is None
    assert token_in(memory, ALICE) is None
    # bob's token is still valid
    assert token_in(FileStore(tmp_path), BOB) == of_bob
    assert grant.requests == 2


def test_a_listener_is_called_without_a_lock_for_a_refusal_too(tmp_path: Path) -> None:
    grant, memory = CountingGrant(), MemoryStore()
    grant.failure = REFUSED
    free: list[bool] = []

    def listen(event: Event) -> None:
        if isinstance(event, TokenRefused):
            with memory.lock(grant.key, timeout=5) as held:
                free.append(bool(held))

    manager = TokenManager(
        grant, store=FileStore(tmp_path), memory=memory, timeout=20, on_event=listen
    )
    with pytest.raises(GrantRefused):
        manager.token()

    end = time.monotonic() + 20
    while not free:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert free == [True]


def test_a_renewal_that_crashes_fails_and_does_not_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[object] = []

    def crash(_: Driver, steps: object) -> None:
        runs.append(steps)
        raise KeyError("planted-secret")

    monkeypatch.setattr(Driver, "run", crash)
    manager = sibling(CountingGrant())

    for _ in range(3):
        with pytest.raises(GrantUnavailable, match="the renewal failed: KeyError") as caught:
            manager.token()
        assert "planted-secret" not in str(caught.value)
        assert caught.value.local
    assert len(runs) == 1


def published(result: Result) -> InFlight:
    """A renewal that has published `result`."""
    renewal = InFlight(
        RenewalRequest(snapshot=EMPTY, start=clock.now()), _nothing, resource="", longest_step=1.0
    )
    renewal.publish(result, EMPTY)
    return renewal


def _nothing(_renewal: InFlight) -> None:
    """Do nothing: this renewal has already ended."""


def first_joins(manager: TokenManager, result: Result, patch: pytest.MonkeyPatch) -> None:
    """Make the next call join a renewal with this result; later calls start their own."""
    start, joined = type(manager.renewer).start, [published(result)]

    def start_or_join(self: Any, request: RenewalRequest) -> InFlight:
        return joined.pop() if joined else start(self, request)

    patch.setattr(type(manager.renewer), "start", start_or_join)


def test_a_refresh_does_not_return_the_late_token_of_a_suspended_renewal(  # F30
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager, now = sibling(CountingGrant()), clock.now()
    dead = Token("dead", now.wall - HOUR, now.wall - 60, issued_boot=now.boot - HOUR)
    late = Result(source=Source.GRANT, token=dead, deadline=now.boot - 1)
    first_joins(manager, late, monkeypatch)

    assert manager.refresh() != dead


def test_a_refresh_sends_a_request_if_the_renewal_it_joined_only_remembered_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager, now = sibling(CountingGrant()), clock.now()
    failure = Failure(kind=FailureKind.REFUSED, at=now.wall, until=now.wall + 300, error=REFUSED)
    first_joins(manager, Result(source=Source.REMEMBERED, failure=failure), monkeypatch)

    assert manager.refresh().value.startswith("token-1")


def test_a_slow_credential_that_fails_is_not_a_late_renewal(  # F31
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grant = CountingGrant()
    boot = clock._since_boot
    waited = [0.0]
    monkeypatch.setattr(clock, "_since_boot", lambda: boot() + waited[0])

    def read() -> None:
        waited[0] += 100
        raise LookupError

    grant.read = read  # type: ignore[attr-defined]  # as a grant with one reading has it
    grant.deadline = 5.0  # type: ignore[attr-defined]  # likewise
    manager = sibling(grant, timeout=1000)
    with pytest.raises(TokenError, match="LookupError"):
        manager.token()
    assert manager.status().state == "cooling"
