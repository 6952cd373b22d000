"""A rotating refresh token is spent once, under its lock, and its successor is kept."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evertoken.core.effects import (
    Hold,
    InitialRefused,
    Publish,
    Reading,
    Request,
    Save,
    StillHeld,
)
from evertoken.core.entry import NOTHING, Entry
from evertoken.core.failure_kind import FailureKind
from evertoken.core.login import Initial, Login, digest_of
from evertoken.core.outcome import Source, apply_result
from evertoken.core.state import EMPTY, with_token
from evertoken.errors import GrantRefused, GrantUnavailable, InvalidTokenResponse
from support.core_script import POLICY, READING, Script
from support.core_values import DAY, GENERATION, HOUR, NOW, ago, issued

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.effects import Effect
    from evertoken.core.outcome import Result
    from evertoken.core.token import Token
    from evertoken.errors import TokenError

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


def test_a_load_that_failed_starts_no_login() -> None:
    world = script()
    world.unreadable = {1}
    world.renew()
    # not "first", which was spent long ago: a save of nothing new shows what the home holds
    assert sent(world) == ["refresh-1"]
    world = script()
    world.unreadable = world.broken = {1}
    assert failed(world.renew()) is FailureKind.LOCAL
    assert sent(world) == []


def test_an_initial_token_that_is_refused_leaves_the_login_that_works() -> None:
    world = script(reading=replace(READING, initial="forged"))
    world.answers = [GrantRefused("no", error="invalid_grant"), issued(refresh_token="refresh-2")]
    assert world.renew().token is not None
    assert sent(world) == ["forged", "refresh-1"]
    assert world.count(InitialRefused) == 1
    assert kept(world).refresh_token == "refresh-2"
    # it is not sent again
    world.now = world.now.after(HOUR)
    world.renew()
    assert sent(world)[2:] == ["refresh-2"]


def test_a_refused_initial_token_proves_nothing_where_the_stored_token_is_another_s() -> None:
    world = script(reading=replace(READING, initial="forged"))
    world.stores[1] = replace(world.stores[1], token=issued(ago(2 * HOUR), value="theirs"))
    world.foreign = {"theirs"}
    world.answers = [GrantRefused("no", error="invalid_grant")]
    result = world.renew()
    assert failed(result) is FailureKind.LOCAL
    assert sent(world) == ["forged"]
    assert kept(world).refresh_token == "refresh-1"


def test_the_mark_of_a_new_login_is_on_the_one_that_it_may_replace() -> None:
    world = script(reading=replace(READING, initial="second"))
    world.renew()
    [mark, _] = [each.entry.login for each in world.log if isinstance(each, Save) and each.store]
    assert mark == replace(LOGIN, being_spent=True)


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
        (absent, "has no lock: it does not answer, or supports none"),
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


# -- an answer that was lost -----------------------------------------------------------------------


LOST = GrantUnavailable("cut", transient=True)


@pytest.mark.parametrize(
    "lost",
    [
        LOST,
        GrantUnavailable("a gateway gave up", status=504, transient=True),
        InvalidTokenResponse("cut in two", status=200, transient=True),
    ],
    ids=["cut", "504", "garbled"],
)
def test_a_lost_answer_is_asked_for_again_at_once_with_the_same_refresh_token(
    lost: TokenError,
) -> None:
    world = script()
    world.answers = [lost, issued(refresh_token="refresh-3")]
    assert world.renew().token is not None
    assert sent(world) == ["refresh-1", "refresh-1"]
    assert kept(world).refresh_token == "refresh-3"
    assert world.slept == []


def test_an_answer_that_is_lost_twice_is_asked_for_again_by_the_next_renewal() -> None:
    world = script()
    world.answers = [LOST] * 2
    assert failed(world.renew()) is FailureKind.UNAVAILABLE
    assert sent(world) == ["refresh-1", "refresh-1"]
    assert kept(world).being_spent
    world.now = world.now.after(60)
    assert world.renew().token is not None
    assert sent(world)[2:] == ["refresh-1"]


@pytest.mark.parametrize(
    "error",
    [
        GrantUnavailable("down", status=503, transient=True),
        GrantUnavailable("no route", transient=True, local=True),
        GrantUnavailable("wrong", status=400, error="invalid_scope"),
        GrantRefused("no", error="invalid_client"),
    ],
    ids=["503", "unsent", "invalid_scope", "invalid_client"],
)
def test_an_answer_that_came_is_not_asked_for_again(error: TokenError) -> None:
    world = script()
    world.answers = [error]
    world.renew()
    assert sent(world) == ["refresh-1"]
    assert kept(world).refresh_token == "refresh-1"


def test_a_lost_answer_is_not_asked_for_again_without_the_lock() -> None:
    world = script()
    world.answers = [LOST]
    looks = itertools.count()
    perform = world._perform

    def once(effect: Effect) -> object:
        return next(looks) == 0 if isinstance(effect, StillHeld) else perform(effect)

    world._perform = once  # type: ignore[method-assign]  # the lock is lost during the request
    world.renew()
    assert sent(world) == ["refresh-1"]


def test_a_lost_answer_that_took_long_is_not_asked_for_again_under_the_same_lease() -> None:
    world = script()
    world.answers = [LOST]
    world.latency = 10.0
    world.renew()
    assert sent(world) == ["refresh-1"]


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


REFUSED = GrantRefused("no", error="invalid_grant")


def test_a_refused_refresh_token_gives_way_to_the_token_of_a_sibling_that_spent_it() -> None:
    world = script()
    world.answers = [REFUSED]
    newer = Login("refresh-9", GENERATION + 9)
    theirs = issued(value="theirs", generation=GENERATION + 9)
    world.during = {1: Entry(token=theirs, login=newer)}
    result = world.renew()
    assert result.token is not None
    assert result.token.value == "theirs"
    assert kept(world).refresh_token == "refresh-9"
    assert sent(world) == ["refresh-1"]


def test_the_refresh_token_of_a_sibling_is_sent_if_its_access_token_has_expired() -> None:
    world = script()
    world.answers = [REFUSED]
    world.during = {1: Entry(login=Login("refresh-9", GENERATION + 9))}
    result = world.renew()
    assert (result.token, result.failure) == (None, None)
    world.during = {}
    assert world.renew().token is not None
    assert sent(world) == ["refresh-1", "refresh-9"]


def test_the_end_of_a_login_never_ends_a_successor_that_is_saved_later() -> None:
    world = script()
    world.answers = [REFUSED]
    world.renew()
    assert kept(world).refresh_token is None
    successor = Login("refresh-2", LOGIN.generation + 1)
    assert world._save(1, Entry(login=successor)) is not None
    assert kept(world).refresh_token == "refresh-2"


def test_the_end_of_a_login_is_remembered_without_a_lock_or_a_request() -> None:
    world = script()
    world.answers = [REFUSED]
    ended = world.renew()
    snapshot = apply_result(EMPTY, ended, world.now, POLICY, jitter_fraction=0)
    world.log.clear()
    again = world.renew(snapshot)
    assert again.source is Source.REMEMBERED
    assert world.names() == []


def test_a_new_initial_token_ends_that_memory() -> None:
    world = script()
    world.answers = [REFUSED]
    snapshot = apply_result(EMPTY, world.renew(), world.now, POLICY, jitter_fraction=0)
    world.reading = replace(READING, initial="second")
    assert world.renew(snapshot).token is not None
    assert sent(world) == ["refresh-1", "second"]


def test_without_a_usable_token_the_end_of_a_login_is_looked_at_again_soon() -> None:
    world = script()
    world.answers = [REFUSED]
    snapshot = apply_result(EMPTY, world.renew(), world.now, POLICY, jitter_fraction=0)
    assert snapshot.due(world.now.after(POLICY.recheck))


def test_every_error_of_its_own_names_the_identity() -> None:  # S64
    for login, trouble in (
        (None, None),
        (replace(LOGIN, refresh_token=None), None),
        (LOGIN, absent),
    ):
        world = script(login, READING)
        if trouble is not None:
            trouble(world)
        assert str(world.renew().error).startswith(
            "agent-7 at https://tokens.example/oauth/token/:"
        )


# -- a fallback ------------------------------------------------------------------------------------


def with_fallback(login: Login | None, *answers: Token | TokenError) -> Script:
    world = script(login, READING)
    world.fallback = True
    world.answers = list(answers)
    return world


@pytest.mark.parametrize("login", [None, replace(LOGIN, refresh_token=None)])
def test_a_fallback_starts_a_login_where_there_is_none(login: Login | None) -> None:
    world = with_fallback(login, issued(refresh_token="refresh-7"))
    token = world.renew().token
    assert token is not None
    assert sent(world) == [None]
    assert kept(world).refresh_token == "refresh-7"
    assert kept(world).generation == token.generation


def test_a_refused_refresh_leads_to_one_request_of_the_fallback() -> None:  # S12
    world = with_fallback(LOGIN, REFUSED, issued(refresh_token="refresh-7"))
    assert world.renew().token is not None
    assert sent(world) == ["refresh-1", None]
    assert kept(world).refresh_token == "refresh-7"
    assert kept(world).initials == LOGIN.initials


def test_a_fallback_without_a_refresh_token_leaves_no_login() -> None:
    world = with_fallback(LOGIN, REFUSED, issued())
    assert world.renew().token is not None
    assert kept(world).refresh_token is None


def test_a_refused_fallback_is_a_refusal_of_its_credentials() -> None:  # S48
    world = with_fallback(LOGIN, REFUSED, REFUSED)
    assert failed(world.renew()) is FailureKind.REFUSED
    assert kept(world).refresh_token is None
    # it binds the fleet until somebody logs in
    assert failed(world.renew()) is FailureKind.REFUSED
    assert sent(world) == ["refresh-1", None]
    world._save(1, Entry(login=Login("refresh-8", GENERATION + 9)))
    assert world.renew().token is not None
    assert sent(world)[2:] == ["refresh-8"]


@pytest.mark.parametrize("trouble", [busy, absent, broken, lost])
def test_a_fallback_asks_without_the_store_and_leaves_its_login_alone(
    trouble: Callable[[Script], None],
) -> None:
    world = with_fallback(LOGIN, issued(value="by fallback", refresh_token="refresh-7"))
    trouble(world)
    token = world.renew().token
    assert token is not None
    assert token.value == "by fallback"
    assert sent(world) == [None]
    assert kept(world).refresh_token == "refresh-1"


def test_a_fallback_is_not_asked_while_a_failure_is_waited_out() -> None:
    world = with_fallback(LOGIN, GrantUnavailable("down", status=503, transient=True))
    broken(world)
    snapshot = apply_result(EMPTY, world.renew(), world.now, POLICY, jitter_fraction=0)
    assert world.renew(snapshot).source is not Source.GRANT
    assert len(sent(world)) <= 3


# -- the end of the refresh token ------------------------------------------------------------------


def test_the_login_knows_when_its_refresh_token_ends() -> None:
    world = script()
    world.answers = [replace(issued(refresh_token="refresh-2"), refresh_expires_at=NOW.wall + DAY)]
    world.renew()
    assert kept(world).expires_at == NOW.wall + DAY


def test_a_refresh_token_that_stays_keeps_its_end() -> None:
    world = script(replace(LOGIN, expires_at=NOW.wall + DAY))
    world.renew()
    assert kept(world).refresh_token == "refresh-1"
    assert kept(world).expires_at == NOW.wall + DAY


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
        "StillHeld 1", "Request", "Save 1", "LoginUnsaved 1", "Publish", "Sleep",
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
