"""A token near its end while Redis is down: renewals that can wait do, and are then shared."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evertoken import MemoryStore, RefreshPolicy, Token, TokenManager
from evertoken.core import state
from evertoken.runtime import clock
from evertoken.stores.redis import RedisStore
from support.fleet import CountingGrant, eventually

if TYPE_CHECKING:
    from support.valkey import Valkey

QUICK = RefreshPolicy(recheck=0.05)
LIFETIME = 3600.0


@pytest.fixture
def grant() -> CountingGrant:
    return CountingGrant()


def manager(grant: CountingGrant, valkey: Valkey, *, left: float) -> TokenManager:
    """A manager whose token expires in `left` seconds; it is due 120 s before that."""
    made = TokenManager(
        grant, store=RedisStore(valkey.url, timeout=0.2), memory=MemoryStore(), policy=QUICK
    )
    now = clock.now()
    expires_at = now.wall + left
    token = Token(
        "of-all", expires_at - LIFETIME, expires_at, issued_boot=now.boot + left - LIFETIME
    )
    identified = replace(state.EMPTY, key=grant.key)
    made.renewer.snapshot = state.with_token(identified, token, now, QUICK, jitter_fraction=0.0)
    return made


def test_a_renewal_that_no_caller_waits_for_is_put_off_and_then_shared(  # F27
    grant: CountingGrant, valkey: Valkey
) -> None:
    fleet = [manager(grant, valkey, left=115.0) for _ in range(3)]
    with valkey.frozen():
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            assert {one.token().value for one in fleet} == {"of-all"}
        assert grant.requests == 0
    eventually(lambda: "of-all" not in {one.token().value for one in fleet})
    assert len({one.token().value for one in fleet}) == 1
    assert grant.requests == 1


def test_with_half_of_the_window_left_each_process_renews_alone_and_no_caller_waits(  # F27
    grant: CountingGrant, valkey: Valkey
) -> None:
    fleet = [manager(grant, valkey, left=60.0) for _ in range(3)]
    with valkey.frozen():
        eventually(lambda: "of-all" not in {one.token(timeout=0.0).value for one in fleet})
        assert grant.requests == 3


def test_a_process_without_a_token_renews_alone_at_once(
    grant: CountingGrant, valkey: Valkey
) -> None:  # F27
    one = manager(grant, valkey, left=5.0)
    with valkey.frozen():
        started = time.monotonic()
        assert one.token().value != "of-all"
        assert time.monotonic() - started < 1.5


def test_a_due_token_is_sent_without_waiting_for_redis(  # F27
    grant: CountingGrant, valkey: Valkey
) -> None:
    one = manager(grant, valkey, left=115.0)
    with valkey.frozen():
        assert one.refresh().value != "of-all"
        assert grant.requests == 1
