"""A rotating refresh token is spent once, under its lock, and its successor is kept."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evertoken.core.effects import Hold, Publish, Reading, Request, Save
from evertoken.core.entry import NOTHING, Entry
from evertoken.core.failure_kind import FailureKind
from evertoken.core.login import Initial, Login, digest_of
from evertoken.core.outcome import Source
from evertoken.core.state import EMPTY, with_token
from evertoken.errors import GrantRefused, GrantUnavailable
from support.core_script import POLICY, READING, Script
from support.core_values import GENERATION, HOUR, NOW, ago, issued

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.outcome import Result

LOGIN = Login(
    "refresh-1", GENERATION - 100, initials=(Initial(GENERATION - 100, digest_of("first")),)
)
INITIAL = replace(READING, initial="first")


def script(login: Login | None = LOGIN, reading: Reading = INITIAL) -> Script:
    """A process with a memory store, and a shared store that holds `login`."""
    return Script(stores=[NOTHING, Entry(login=login)], reading=reading, exclusive=True)


def sent(world: Script) -> list[str | None]:
    """The refresh tokens that were posted."""
    return [each.refresh_token for each in world.log if isinstance(each, Request)]


def kept(world: Script) -> Login:
    """The login that the home holds."""
    login = world.stores[-1].login
    assert login is not None
    return login


def test_a_refresh_token_is_sent_only_after_its_mark_was_saved() -> None:
    world = script()
    world.renew()
    assert world.names() == [
        "Lock 0", "Load 0", "Lock 1", "Load 1",
        "Save 1", "StillHeld 1", "Request", "Save 1", "Save 0",
    ]  # fmt: skip
    [mark, _] = [each.entry.login for each in world.log if isinstance(each, Save) and each.store]
    assert mark == replace(LOGIN, being_spent=True)
    assert sent(world) == ["refresh-1"]


def test_the_successor_is_saved_with_its_access_token() -> None:
    world = script()
    world.answers = [issued(refresh_token="refresh-2")]
    token = world.renew().token
    assert token is not None
    assert world.stores[-1].token == token
    assert kept(world) == Login("refresh-2", token.generation, initials=LOGIN.initials)


def test_a_server_that_does_not_rotate_keeps_the_refresh_token() -> None:
    world = script()
    world.renew()
    assert kept(world).refresh_token == "refresh-1"
    assert not kept(world).being_spent


# -- which login -----------------------------------------------------------------------------------


def test_an_unknown_initial_token_starts_a_new_login() -> None:
    world = script(reading=replace(READING, initial="second"))
    world.renew()
    assert sent(world) == ["second"]
    assert [each.digest for each in kept(world).initials] == [
        digest_of("second"),
        digest_of("first"),
    ]


def test_a_first_login_starts_with_the_initial_token() -> None:
    world = script(login=None)
    world.renew()
    assert sent(world) == ["first"]


def test_a_used_initial_token_never_replaces_its_successor() -> None:
    world = script()
    world.renew()
    assert sent(world) == ["refresh-1"]


def test_the_stored_login_needs_no_initial_token() -> None:
    world = script(reading=READING)
    world.renew()
    assert sent(world) == ["refresh-1"]


@pytest.mark.parametrize("login", [None, replace(LOGIN, refresh_token=None)])
def test_without_a_login_nothing_is_sent(login: Login | None) -> None:
    world = script(login, READING)
    result = world.renew()
    assert sent(world) == []
    assert isinstance(result.error, GrantRefused)
    assert failed(result) is FailureKind.LOCAL


def failed(result: Result) -> FailureKind:
    """The kind of the result's failure."""
    assert result.failure is not None
    return result.failure.kind


def test_a_login_is_tried_again_after_the_process_that_spent_it_died() -> None:
    world = script(replace(LOGIN, being_spent=True))
    assert world.renew().token is not None


# -- when it is not sent ---------------------------------------------------------------------------


def busy(world: Script) -> None:
    world.holds = {1: [Hold.BUSY] * 99}


def absent(world: Script) -> None:
    world.holds = {1: [Hold.ABSENT]}


def broken(world: Script) -> None:
    world.broken = {1}


def lost(world: Script) -> None:
    world.lost_lock = True


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (busy, "another process holds the lock of the login"),
        (absent, "does not support locking"),
        (broken, "could not be saved"),
        (lost, "the lock of the login was lost"),
    ],
)
def test_a_refresh_token_is_not_sent(trouble: Callable[[Script], None], reason: str) -> None:
    world = script()
    trouble(world)
    result = world.renew()
    assert sent(world) == []
    assert isinstance(result.error, GrantUnavailable)
    assert reason in str(result.error)
    assert failed(result) is FailureKind.LOCAL


@pytest.mark.parametrize(
    "other",
    [Login("refresh-9", GENERATION + 9), replace(LOGIN, refresh_token="refresh-9")],
    ids=["newer", "of the same second"],
)
def test_a_refresh_token_is_not_sent_if_the_home_already_has_another_one(other: Login) -> None:
    world = script()
    save = world._save

    def overtaken(store: int, entry: Entry) -> Entry | None:
        joined = save(store, entry)
        return joined and replace(joined, login=other)

    world._save = overtaken  # type: ignore[method-assign]  # a login between load and save
    world.renew()
    assert sent(world) == []


def test_a_nearer_lock_that_is_busy_or_absent_does_not_stop_the_renewal() -> None:
    for hold in (Hold.BUSY, Hold.ABSENT):
        world = script()
        world.holds = {0: [hold] * 99}
        assert world.renew().source is Source.GRANT


def test_a_busy_home_postpones_a_renewal_that_no_caller_waits_for() -> None:
    due = issued(ago(HOUR - 100), value="due")
    world = script()
    busy(world)
    snapshot = with_token(EMPTY, due, NOW, POLICY, jitter_fraction=0)
    assert world.renew(snapshot).source is Source.BUSY


def test_a_refresh_token_is_sent_once_though_the_answer_was_a_passing_error() -> None:
    world = script()
    world.answers = [GrantUnavailable("cut", transient=True)] * 3
    assert failed(world.renew()) is FailureKind.UNAVAILABLE
    assert sent(world) == ["refresh-1"]
    assert kept(world).being_spent


# -- the end of a login ----------------------------------------------------------------------------


def test_a_refused_refresh_token_ends_the_login_for_everyone() -> None:
    world = script()
    world.answers = [GrantRefused("no", error="invalid_grant")]
    result = world.renew()
    assert kept(world).refresh_token is None
    assert kept(world).initials == LOGIN.initials
    # the next login is not delayed by a cool-down of the client's credentials
    assert failed(result) is FailureKind.LOCAL
    assert world.stores[-1].refusals == ()


def test_a_refused_client_does_not_end_the_login() -> None:
    world = script()
    world.answers = [GrantRefused("no", error="invalid_client")]
    assert failed(world.renew()) is FailureKind.REFUSED
    assert kept(world).refresh_token == "refresh-1"


# -- a store that fails after the answer -----------------------------------------------------------


def failing_saves(world: Script, times: int) -> None:
    """Make `times` saves fail after the first, which is the mark."""
    save, calls = world._save, itertools.count()

    def unreliable(store: int, entry: Entry) -> Entry | None:
        if store == 1 and 1 <= next(calls) <= times:
            return None
        return save(store, entry)

    world._save = unreliable  # type: ignore[method-assign]  # a disk that fails for a while


def test_a_successor_is_saved_again_until_the_store_is_back() -> None:
    world = script()
    world.answers = [issued(refresh_token="refresh-2")]
    failing_saves(world, 3)
    result = world.renew()
    assert result.token is not None
    assert kept(world).refresh_token == "refresh-2"
    # no caller waits for the store
    assert world.names()[5:] == [
        "StillHeld 1", "Request", "Save 1", "Publish", "Sleep",
        "Save 1", "Sleep", "Save 1", "Sleep", "Save 1", "Save 0",
    ]  # fmt: skip
    assert world.count(Publish) == 1


def test_a_late_answer_leaves_no_time_to_save_again() -> None:
    world = script()
    world.latency = 61.0
    failing_saves(world, 1)
    assert world.renew().token is not None
    assert world.slept == []


def test_a_successor_that_cannot_be_saved_in_time_stays_in_the_process() -> None:
    world = script()
    world.answers = [issued(refresh_token="refresh-2")]
    failing_saves(world, 999)
    result = world.renew()
    assert result.token is not None
    assert world.now.boot >= result.deadline
    login = result.entry.login
    assert login is not None
    assert login.refresh_token == "refresh-2"
    assert world.stores[0].login == login
