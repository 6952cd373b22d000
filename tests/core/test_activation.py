"""Which of two tokens is sent while an API does not yet accept the newer one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from evertoken.core.effects import Revoke
from evertoken.core.entry import FAR_FUTURE, NOTHING, Entry
from evertoken.core.outcome import Result, Source, apply_result
from evertoken.core.policy import RefreshPolicy
from evertoken.core.state import (
    EMPTY,
    Action,
    activated,
    decide,
    invalidated,
    merge_shared,
    promoted,
    revoked,
    with_fast_path,
    with_rejected,
    with_token,
)
from evertoken.errors import GrantUnavailable
from support.core_script import Script
from support.core_values import HOUR, KEY, NOW, ago, issued

if TYPE_CHECKING:
    from evertoken.core.instant import Instant
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token

DELAY = 5.0
POLICY = RefreshPolicy(activation_delay=DELAY)
AT_ONCE = RefreshPolicy()
NEW = issued(NOW, value="new")
OLD = issued(ago(HOUR - 60), value="old")
"""Usable and due."""


def held(token: Token, snapshot: Snapshot = EMPTY, policy: RefreshPolicy = POLICY) -> Snapshot:
    return with_token(snapshot, token, NOW, policy, jitter_fraction=0)


def both(policy: RefreshPolicy = POLICY) -> Snapshot:
    """The snapshot of a manager that held the old token when the new one arrived."""
    return held(NEW, held(OLD, policy=policy), policy)


def sent(snapshot: Snapshot, now: Instant = NOW) -> str:
    """The token that a call at `now` sends; checks that header and token agree."""
    snapshot = activated(snapshot, now)
    assert snapshot.sent is not None
    assert snapshot.header == f"Bearer {snapshot.sent.value}"
    return snapshot.sent.value


def applied(snapshot: Snapshot, **fields: Any) -> Snapshot:
    result = Result(**{"source": Source.GRANT, "key": KEY, **fields})
    return apply_result(snapshot, result, NOW, POLICY, jitter_fraction=0)


def test_the_old_token_is_sent_until_the_new_one_is_active() -> None:  # F38
    snapshot = both()
    assert sent(snapshot) == sent(snapshot, NOW.after(DELAY - 0.1)) == "old"
    assert sent(snapshot, NOW.after(DELAY)) == "new"


def test_by_default_a_new_token_is_sent_at_once() -> None:
    assert sent(both(AT_ONCE)) == "new"
    assert both(AT_ONCE).former is None


def test_everything_but_the_header_goes_by_the_new_token() -> None:
    snapshot, alone = both(), held(NEW)
    assert (snapshot.token, snapshot.due_at, snapshot.usable_until) == (
        alone.token,
        alone.due_at,
        alone.usable_until,
    )
    assert decide(snapshot, NOW.after(60)) is Action.USE


def test_a_token_from_a_poll_or_a_renewal_waits_for_its_activation_too() -> None:
    options: dict[str, Any] = {"jitter_fraction": 0, "may_adopt": True}
    assert sent(merge_shared(held(OLD), Entry.of_token(NEW), NOW, POLICY, **options)) == "old"
    assert sent(applied(held(OLD), token=NEW, entry=Entry.of_token(NEW))) == "old"


def test_without_a_token_that_can_be_sent_the_new_one_is_sent_at_once() -> None:
    assert sent(held(NEW)) == "new"
    over = held(NEW, held(issued(ago(2 * HOUR), value="over")))
    assert (over.header, over.former) == ("Bearer new", None)


def test_the_delay_ends_when_the_old_token_stops_being_usable() -> None:
    old = issued(ago(HOUR - 12), value="old")  # the last 10 seconds of its lifetime are the margin
    snapshot = held(NEW, held(old))
    assert sent(snapshot, NOW.after(1.9)) == "old"
    assert sent(snapshot, NOW.after(2)) == "new"


@pytest.mark.parametrize("wall", [-HOUR, 0.0, HOUR])
def test_setting_the_wall_clock_does_not_prolong_the_delay(wall: float) -> None:
    now = NOW.after(DELAY)
    assert sent(both(), now._replace(wall=now.wall + wall)) == "new"


def test_the_old_token_is_still_sent_while_further_tokens_arrive() -> None:
    third = issued(NOW.after(1), value="third")
    snapshot = with_token(both(), third, NOW.after(1), POLICY, jitter_fraction=0)
    assert sent(snapshot, NOW.after(DELAY)) == "old"
    assert sent(snapshot, NOW.after(1 + DELAY)) == "third"


def test_a_server_that_answers_with_the_same_token_again_changes_nothing() -> None:
    again = replace(OLD, generation=NEW.generation)
    assert held(again, held(OLD)).former is None


def test_an_old_token_that_an_api_rejected_is_not_sent() -> None:
    refused = with_rejected(held(OLD))
    assert sent(applied(refused, token=NEW, entry=Entry.of_token(NEW))) == "new"
    options: dict[str, Any] = {"jitter_fraction": 0, "may_adopt": True}
    assert sent(merge_shared(refused, Entry.of_token(NEW), NOW, POLICY, **options)) == "new"


def test_a_promoted_token_is_sent() -> None:
    assert sent(promoted(both())) == "new"
    assert promoted(EMPTY) is EMPTY
    assert promoted(held(OLD)).token == OLD


def test_an_old_token_that_was_revoked_or_invalidated_is_not_sent() -> None:
    dead = Entry.of_revocation(OLD.generation)
    assert sent(revoked(both(), dead)) == "new"
    assert sent(invalidated(both(), "old")) == "new"
    assert invalidated(both(), "old").entry.kills(OLD)
    assert sent(held(NEW, replace(held(OLD), entry=dead))) == "new"


def test_a_revocation_of_the_new_token_ends_both() -> None:
    after = revoked(both(), Entry.of_revocation(NEW.generation))
    assert (after.token, after.former, after.header) == (None, None, "")


def test_the_old_token_is_dropped_if_demotion_loses_the_order() -> None:  # S57
    future = replace(NEW, generation=int(NOW.wall + FAR_FUTURE) + 9)
    snapshot = merge_shared(
        held(future, held(OLD)), None, NOW, POLICY, jitter_fraction=0, may_adopt=False
    )
    assert sent(snapshot) == "new"


def test_no_token_of_another_identity_is_sent() -> None:  # S49
    before = replace(both(), key=KEY)
    after = applied(before, key=replace(KEY, username="other"), source=Source.BUSY)
    assert (after.token, after.former, after.header) == (None, None, "")


def test_the_fast_path_ends_with_the_delay() -> None:
    opened = with_fast_path(both(), NOW.after(DELAY - 0.25), POLICY)
    assert opened.fresh_until - NOW.wall == pytest.approx(DELAY)
    assert activated(opened, NOW.after(DELAY)).fresh_until == -math.inf


def test_a_revocation_ends_both_at_the_server() -> None:
    script = Script()
    assert script.revoke(replace(both(), key=KEY)).tokens == (NEW, OLD)
    assert script.count(Revoke) == 2
    unread = Script(reading=GrantUnavailable("no password", local=True))
    assert unread.revoke(replace(both(), key=KEY)).tokens == (NEW, OLD)
    renamed = Script(stores=[NOTHING])
    assert renamed.revoke(replace(both(), key=replace(KEY, username="other"))).tokens == ()
