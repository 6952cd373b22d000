"""Managers that share only a folder see each other's tokens within `recheck`."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from evertoken import (
    FileStore,
    GrantRefused,
    GrantUnavailable,
    MemoryStore,
    RefreshPolicy,
    Token,
    TokenError,
    TokenManager,
)
from evertoken.core.effects import RenewalRequest
from evertoken.core.entry import Entry
from evertoken.runtime import clock, waiters
from support.fleet import BOUND, CountingGrant, eventually, held, sibling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evertoken import TokenKey
    from evertoken.core.hold import Hold

RECHECK = 0.2
QUICK = RefreshPolicy(recheck=RECHECK)
LATE = 2.0
"""Seconds within which a poll every 0.2 s certainly happens; far less than any other rule."""


@pytest.fixture
def grant() -> CountingGrant:
    return CountingGrant()


def pair(grant: CountingGrant, folder: Path, policy: RefreshPolicy = QUICK) -> list[TokenManager]:
    return [sibling(grant, folder, policy=policy) for _ in range(2)]


def test_siblings_adopt_a_renewed_token(grant: CountingGrant, tmp_path: Path) -> None:
    one, other = pair(grant, tmp_path)
    assert one.token() == other.token()
    renewed = one.refresh()
    eventually(lambda: other.token() == renewed, within=LATE)
    assert grant.requests == 2
    assert other.status().counters.adoptions == 2


def test_siblings_drop_a_revoked_token(grant: CountingGrant, tmp_path: Path) -> None:  # S41
    one, other = pair(grant, tmp_path)
    first = one.token()
    assert other.token() == first
    one.revoke()
    assert grant.revoked == [first.value]
    eventually(lambda: other.token() != first, within=LATE)
    assert one.token() == other.token()
    assert grant.requests == 2


def test_a_revocation_waits_for_a_siblings_renewal_and_revokes_its_token_too(  # S41
    grant: CountingGrant, tmp_path: Path
) -> None:
    one, other = pair(grant, tmp_path)
    first = one.token()
    renewed: list[Token] = []
    renewing = threading.Thread(target=lambda: renewed.append(other.refresh()))
    revoking = threading.Thread(target=one.revoke)
    with held(grant):
        renewing.start()
        eventually(lambda: grant.requests == 2)
        revoking.start()
        revoking.join(0.3)
        assert revoking.is_alive()
    renewing.join(BOUND)
    revoking.join(BOUND)
    assert grant.revoked == [first.value, renewed[0].value]
    eventually(lambda: other.token() not in {first, renewed[0]}, within=LATE)


def test_an_idle_sibling_never_sends_a_revoked_token(  # S41
    grant: CountingGrant, tmp_path: Path
) -> None:
    one, other = pair(grant, tmp_path)
    first = one.token()
    other.token()
    one.revoke()
    start = time.monotonic()
    eventually(lambda: time.monotonic() - start > RECHECK)
    assert other.token() != first


def test_a_revocation_is_noticed_after_its_tombstone_was_replaced(  # S41
    grant: CountingGrant, tmp_path: Path
) -> None:
    one, other = pair(grant, tmp_path)
    first = one.token()
    assert other.token() == first
    one.revoke()
    second = one.token()
    one.invalidate(second)
    start = time.monotonic()
    eventually(lambda: time.monotonic() - start > RECHECK)
    # the file has the second token's revocation, and this sibling's memory still has the first
    # token
    third = other.token()
    assert third not in {first, second}
    assert one.token() == third
    assert grant.requests == 3


def test_a_failing_renewal_saves_no_dead_token(  # S41
    grant: CountingGrant, tmp_path: Path
) -> None:
    one, other = pair(grant, tmp_path)
    first = other.token()
    one.revoke()
    second = one.token()
    one.invalidate(second)
    grant.failure = GrantUnavailable("503", transient=True)
    # it still holds the first token, and gets the outage itself
    with pytest.raises(GrantUnavailable):
        other.refresh()
    shared = FileStore(tmp_path).load(grant.key)
    assert shared is not None
    assert shared.token is None
    assert shared.outage is not None
    assert shared.kills(first)
    assert shared.kills(second)
    assert value_or_none(other) is None


def test_the_failure_of_a_successor_does_not_hide_a_revocation(  # S41
    grant: CountingGrant, tmp_path: Path
) -> None:
    one, other = pair(grant, tmp_path)
    first = one.token()
    assert other.token() == first
    one.revoke()
    grant.failure = GrantUnavailable("503", retry_after=3600.0, transient=True)
    with pytest.raises(GrantUnavailable):
        one.token()
    eventually(lambda: value_or_none(other) is None, within=LATE)


def test_siblings_drop_an_invalidated_token(grant: CountingGrant, tmp_path: Path) -> None:
    one, other = pair(grant, tmp_path)
    first = one.token()
    other.token()
    one.invalidate(first)
    eventually(lambda: other.token() != first, within=LATE)
    assert grant.requests == 2


def test_siblings_share_a_refusal(grant: CountingGrant, tmp_path: Path) -> None:  # S48
    grant.failure = GrantRefused("no", status=400, error="invalid_grant")
    for manager in pair(grant, tmp_path):
        with pytest.raises(GrantRefused) as caught:
            manager.token()
        assert (caught.value.status, caught.value.error) == (400, "invalid_grant")
    assert grant.requests == 1


def test_a_refused_sibling_adopts_the_token_of_one_that_was_not(
    grant: CountingGrant, tmp_path: Path
) -> None:
    one, other = pair(grant, tmp_path)
    grant.failure = GrantRefused("no")
    for manager in (one, other):
        with pytest.raises(GrantRefused):
            manager.token()
    grant.failure = None
    token = one.refresh()
    assert wait_for_token(other) == token.value
    assert grant.requests == 2


def test_siblings_wait_together_for_a_failing_endpoint(  # F20
    grant: CountingGrant, tmp_path: Path
) -> None:
    grant.failure = GrantUnavailable("503", retry_after=3600.0, transient=True)
    for manager in pair(grant, tmp_path):
        with pytest.raises(GrantUnavailable):
            manager.token()
    assert grant.requests == 1


def test_a_sibling_in_its_back_off_adopts_a_token_saved_meanwhile(  # F20
    grant: CountingGrant, tmp_path: Path
) -> None:
    grant.failure = GrantUnavailable("503", retry_after=3600.0, transient=True)
    one, other = pair(grant, tmp_path)
    for manager in (one, other):
        with pytest.raises(GrantUnavailable):
            manager.token()
    grant.failure = None
    token = one.refresh()
    assert wait_for_token(other) == token.value
    assert grant.requests == 2


def test_a_live_token_is_served_through_an_outage(  # F20
    grant: CountingGrant, tmp_path: Path
) -> None:
    grant.lifetime = 4.0
    one, other = pair(grant, tmp_path)
    first = one.token()
    other.token()
    grant.failure = GrantUnavailable("503", transient=True)
    eventually(lambda: one.status().last_error is not None or one.token() != first)
    assert one.token(timeout=0.0) == other.token(timeout=0.0) == first


def test_the_lock_of_a_renewing_sibling_is_tried_at_most_once_a_second(
    grant: CountingGrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    lock = FileStore.lock

    @contextlib.contextmanager
    def counted(self: FileStore, key: TokenKey, *, timeout: float) -> Iterator[Hold]:
        tries.append(time.monotonic())
        with lock(self, key, timeout=timeout) as held:
            yield held

    grant.lifetime = 40.0
    policy = RefreshPolicy(refresh_before=10.0, jitter=0.0)
    other = sibling(grant, tmp_path, policy=policy)
    with FileStore(tmp_path).lock(grant.key, timeout=0.0):
        # due, and usable for 7 s more
        leave_token(grant, tmp_path, age=31.0)
        monkeypatch.setattr(FileStore, "lock", counted)
        started = time.monotonic()
        eventually(lambda: (other.token(timeout=0.0), len(tries) >= 3)[1])
        assert time.monotonic() - started >= 1.9
    assert grant.requests == 0


def test_a_token_saved_by_a_faster_sibling_is_adopted_without_the_lock(
    grant: CountingGrant, tmp_path: Path
) -> None:
    one, late = pair(grant, tmp_path)
    old = one.token()
    assert late.token() == old
    late.renewer.stores[0].save(grant.key, Entry.of_token(old))
    new = one.refresh()
    start = clock.now()
    request = RenewalRequest(snapshot=late.renewer.snapshot, start=start)
    assert request.snapshot.token == old
    with FileStore(tmp_path).lock(grant.key, timeout=0.0):
        renewal = late.renewer.start(request)
        published = waiters.run(renewal.waiting(until=start.boot + BOUND))
    assert published is not None
    assert published.result.token == new
    assert late.token(timeout=0.0) == new
    assert grant.requests == 2


def test_behind_a_stuck_sibling_a_renewal_is_put_off_until_half_of_its_window_is_left(
    grant: CountingGrant, tmp_path: Path
) -> None:
    grant.lifetime = 40.0
    impatient = sibling(grant, tmp_path, timeout=0.0)
    with FileStore(tmp_path).lock(grant.key, timeout=0.0):
        # due for 1 s, and usable for 7 s more
        leave_token(grant, tmp_path, age=31.0)
        assert impatient.token().value == "31-seconds-old"
        eventually(lambda: not impatient.status().renewing)
        assert grant.requests == 0
        leave_token(grant, tmp_path, age=36.0)
        eventually(lambda: (impatient.token(), impatient.status().counters.grants == 1)[1])


def test_a_waiter_takes_the_token_of_the_sibling_that_it_waits_for(
    grant: CountingGrant, tmp_path: Path
) -> None:
    one, other = pair(grant, tmp_path)
    with held(grant):
        for manager in (one, other):
            with pytest.raises(TokenError):
                manager.token(timeout=0.05)
        eventually(lambda: grant.requests == 1)
        assert other.status().renewing
    eventually(lambda: other.status().state == "fresh", within=LATE)
    assert other.token() == one.token()
    assert grant.requests == 1


def test_a_damaged_file_is_replaced_by_the_next_poll_of_a_process_that_has_the_token(  # F10
    grant: CountingGrant, tmp_path: Path
) -> None:
    one = sibling(grant, tmp_path, policy=QUICK)
    token = one.token()
    FileStore(tmp_path).path(grant.key).write_bytes(b"garbage")

    def is_whole() -> bool:
        one.token()
        entry = FileStore(tmp_path).load(grant.key)
        return entry is not None and entry.token == token

    eventually(is_whole, within=LATE)
    assert sibling(grant, tmp_path).token() == token
    assert grant.requests == 1


def test_a_token_left_by_another_process_costs_no_grant(
    grant: CountingGrant, tmp_path: Path
) -> None:
    token = sibling(grant, tmp_path).token()
    assert sibling(grant, tmp_path).token() == token
    assert grant.requests == 1


def test_a_new_manager_does_not_get_a_token_that_siblings_have_replaced(
    grant: CountingGrant, tmp_path: Path
) -> None:
    memory = MemoryStore()
    here = TokenManager(grant, store=FileStore(tmp_path), memory=memory)
    elsewhere = sibling(grant, tmp_path)
    first = here.token()
    second = elsewhere.refresh()
    # this process's memory still has the first token, which an API may have rejected for that
    # sibling
    new = TokenManager(grant, store=FileStore(tmp_path), memory=memory)
    assert new.token() == second != first
    assert grant.requests == 2


def value_or_none(manager: TokenManager) -> str | None:
    try:
        return manager.token().value
    except TokenError:
        return None


def wait_for_token(manager: TokenManager) -> str:
    values: list[str] = []

    def had() -> bool:
        with contextlib.suppress(TokenError):
            values.append(manager.token(timeout=BOUND).value)
        return bool(values)

    eventually(had, within=LATE)
    return values[0]


def leave_token(grant: CountingGrant, folder: Path, *, age: float) -> None:
    """Save a token as another process would, `age` seconds after its issue."""
    now = clock.now()
    issued_at = now.wall - age
    token = Token(
        f"{age:.0f}-seconds-old",
        issued_at,
        issued_at + grant.lifetime,
        issued_boot=now.boot - age,
        generation=int(age),
    )
    FileStore(folder).save(grant.key, Entry.of_token(token))
