"""The status of a manager, without secrets."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING

import pytest

from evertoken import RefreshPolicy
from evertoken.core.state import EMPTY, Snapshot, with_failure, with_token
from evertoken.status import Counters, Status, status_of
from support.core_values import HOUR, NOW, ago, failure, issued, refusal
from support.values import pickled

if TYPE_CHECKING:
    from evertoken import Token
    from evertoken.core.failure import Failure

POLICY = RefreshPolicy()
COUNTERS = Counters(grants=3, adoptions=2, failures=1)


def status(snapshot: Snapshot, *, renewing: bool = False) -> Status:
    return status_of(snapshot, NOW, COUNTERS, renewing=renewing)


def holding(token: Token) -> Snapshot:
    return with_token(EMPTY, token, NOW, POLICY, jitter_fraction=0.0)


def failed(snapshot: Snapshot, failure: Failure) -> Snapshot:
    return with_failure(snapshot, failure, NOW, POLICY)


def held(seconds_ago: float) -> Snapshot:
    return holding(issued(ago(seconds_ago)))


FRESH, STALE, EXPIRED = held(60), held(HOUR - 60), held(HOUR)


@pytest.mark.parametrize(
    ("snapshot", "state"),
    [
        (FRESH, "fresh"),
        (STALE, "stale"),
        (EXPIRED, "expired"),
        (EMPTY, "none"),
        (failed(EMPTY, failure()), "cooling"),
        (failed(EXPIRED, failure()), "cooling"),
        (failed(EMPTY, refusal()), "refused"),
        (failed(EXPIRED, refusal(ago(200))), "refused"),
        (failed(EMPTY, failure(ago(60))), "none"),
        (failed(EXPIRED, refusal(ago(300))), "expired"),
        (failed(STALE, failure()), "fresh"),
        (failed(STALE, refusal(ago(300))), "stale"),
    ],
)
def test_one_word_describes_the_state(snapshot: Snapshot, state: str) -> None:
    assert status(snapshot).state == state


def test_the_times_and_the_scope_of_the_token() -> None:
    token = replace(issued(ago(60)), scope="read")
    told = status(holding(token))
    assert (told.issued_at, told.expires_at) == (token.issued_at, token.expires_at)
    assert told.seconds_left == HOUR - 10 - 60
    assert told.scope == "read"
    assert told.counters == COUNTERS
    assert (told.last_error, told.retry_at) == (None, None)


def test_without_a_token_there_are_no_times() -> None:
    told = status(EMPTY)
    assert (told.issued_at, told.expires_at, told.scope, told.seconds_left) == (None, None, None, 0)


def test_an_expired_token_has_times_and_nothing_left() -> None:
    told = status(EXPIRED)
    assert told.expires_at == NOW.wall
    assert told.seconds_left == 0


def test_a_failure_is_shown_until_a_renewal_succeeds_and_its_pause_until_it_ends() -> None:
    waiting = status(failed(STALE, failure(pause=8)))
    assert str(waiting.last_error) == "the endpoint is down"
    assert waiting.retry_at == NOW.wall + 8
    over = status(failed(STALE, failure(ago(8), pause=8)))
    assert over.last_error is not None
    assert over.retry_at is None


def test_an_outage_is_waited_out_at_most_until_the_token_ends_a_refusal_beyond_that() -> None:
    after_outage = status(failed(STALE, failure(pause=HOUR)))
    after_refusal = status(failed(STALE, refusal()))
    assert after_outage.retry_at == STALE.usable_until.wall < NOW.wall + HOUR
    assert after_refusal.retry_at == refusal().until > STALE.usable_until.wall


def test_all_counters_are_zero_at_first() -> None:
    assert Counters() == Counters(grants=0, adoptions=0, failures=0)


@pytest.mark.parametrize("value", [Counters(), status(EMPTY)], ids=["counters", "status"])
def test_a_status_is_immutable(value: object) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, type(value).__slots__[0], None)  # type: ignore[attr-defined]  # has slots


@pytest.mark.parametrize("renewing", [True, False])
def test_a_status_shows_a_renewal_in_flight(*, renewing: bool) -> None:
    assert status(EMPTY, renewing=renewing).renewing is renewing


def test_a_status_has_no_secret_and_pickles() -> None:  # S46
    token = issued(refresh_token="planted-refresh-token")
    snapshot = failed(holding(token), refusal())
    told = status(snapshot)
    assert "planted" not in repr(told)
    assert repr(pickled(told)) == repr(told)
