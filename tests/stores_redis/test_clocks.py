"""Machines that share Redis need not agree on the time: entries use the server's clock."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from evertoken.core.entry import Entry, join
from evertoken.core.failure import LONGEST_WAIT
from evertoken.core.instant import Instant
from evertoken.core.policy import RefreshPolicy
from evertoken.runtime import clock
from evertoken.stores.redis import RedisStore
from support.core_values import DAY, HOUR, failure, issued, refusal
from support.entries import SALT, content, timeless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.core.token import TokenKey
    from support.valkey import Valkey

SKEWS = [0.0, HOUR, -HOUR, 50.0, 40 * 365 * DAY, -40 * 365 * DAY]
"""Seconds by which a machine's clock is wrong. 40 years: no battery, before NTP."""

SOON = 5.0
"""Seconds; more than an answer of a server on loopback ever takes."""


class Machine:
    """A machine with its own clock and boot."""

    def __init__(self, name: str, ahead: float, url: str, secret: bytes | None = None) -> None:
        self.name = name
        self.ahead = ahead
        self.store = RedisStore(url, encryption_key=secret)

    @contextmanager
    def running(self) -> Iterator[RedisStore]:
        """Run the block on this machine."""
        honest = time.time
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: honest() + self.ahead)
            patch.setattr(clock, "boot_id", lambda: self.name)
            yield self.store


def seconds_left(machine: Machine, key: TokenKey) -> float:
    """The remaining lifetime of the token that `machine` loads."""
    with machine.running() as store:
        entry, now = store.load(key), clock.now()
    assert entry is not None
    assert entry.token is not None
    if not RefreshPolicy().usable(entry.token, now):
        return 0.0
    return entry.token.expires_at - now.wall


@pytest.mark.parametrize("ahead", SKEWS)
@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
def test_the_remaining_lifetime_does_not_depend_on_the_machines_clock(  # S58
    valkey: Valkey, key: TokenKey, ahead: float, *, sealed: bool
) -> None:
    secret = Fernet.generate_key() if sealed else None
    wrong = Machine("wrong", ahead, valkey.url, secret)
    right = Machine("right", 0.0, valkey.url, secret)
    for writer, reader in ((wrong, right), (right, wrong)):
        valkey.client.flushall()
        with writer.running() as store:
            token = replace(issued(clock.now(), lifetime=1000.0), generation=7)
            saved = store.save(key, Entry(token=token))
        assert saved is not None
        assert saved.token is not None
        # on its own clock, too
        assert token.expires_at - SOON < saved.token.expires_at <= token.expires_at
        assert 1000.0 - SOON < seconds_left(reader, key) <= 1000.0
        assert 1000.0 - SOON < seconds_left(writer, key) <= 1000.0


@pytest.mark.parametrize("ahead", SKEWS)
def test_an_expired_token_is_expired_on_every_machine(  # S58
    valkey: Valkey, key: TokenKey, ahead: float
) -> None:
    wrong, right = Machine("wrong", ahead, valkey.url), Machine("right", 0.0, valkey.url)
    with right.running() as store:
        # the revocation in the entry keeps it on the server for a while
        expired = replace(issued(clock.now().after(-200), lifetime=100.0), generation=7)
        store.save(key, Entry(token=expired, revoked_through=3))
    assert seconds_left(wrong, key) == 0.0
    assert seconds_left(right, key) == 0.0


@pytest.mark.parametrize("ahead", SKEWS)
def test_a_failure_ends_at_the_same_moment_on_every_machine(  # S58
    valkey: Valkey, key: TokenKey, ahead: float
) -> None:
    wrong, right = Machine("wrong", ahead, valkey.url), Machine("right", 0.0, valkey.url)
    with wrong.running() as store:
        failures = (
            replace(failure(clock.now(), pause=60.0), generation=7),
            replace(refusal(clock.now(), pause=300.0), generation=7),
        )
        store.save(key, join(Entry(failures=failures, salt=SALT), Entry()))
    for machine in (right, wrong):
        with machine.running() as store:
            entry, now = store.load(key), clock.now()
        assert entry is not None
        assert entry.outage is not None
        assert 60.0 - SOON < entry.outage.remaining(now) <= 60.0
        assert 300.0 - SOON < entry.refusals[0].remaining(now) <= 300.0


def test_a_clock_that_is_set_back_makes_what_another_machine_saved_no_younger(  # S58, F16
    valkey: Valkey, key: TokenKey
) -> None:
    here, there = Machine("here", 0.0, valkey.url), Machine("there", HOUR, valkey.url)
    with there.running() as store:
        token = replace(issued(clock.now(), lifetime=100.0), generation=7)
        # a failure of the same moment is kept beside the token
        failures = (replace(refusal(clock.now(), pause=100.0), generation=7),)
        store.save(key, Entry(token=token, failures=failures, salt=SALT))
    with here.running() as store:
        entry, now = store.load(key), clock.now()
    assert entry is not None
    assert entry.token is not None

    later = Instant(wall=now.wall + 50, boot=now.boot + 200)
    assert RefreshPolicy().usable(entry.token, Instant(wall=later.wall, boot=now.boot + 50))
    assert not RefreshPolicy().usable(entry.token, later)
    assert entry.refusals[0].remaining(later) == 0.0


def test_a_machine_with_another_clock_replaces_the_token_by_its_successor(  # S58
    valkey: Valkey, key: TokenKey
) -> None:
    fast, slow = Machine("fast", HOUR, valkey.url), Machine("slow", -HOUR, valkey.url)
    generation = int(time.time())
    for number, machine in enumerate([fast, slow, fast, slow]):
        with machine.running() as store:
            token = issued(clock.now(), value=f"token-{number}", generation=generation + number)
            store.save(key, Entry(token=token))
        for each in (fast, slow):
            assert HOUR - SOON < seconds_left(each, key) <= HOUR
            with each.running() as store:
                entry = store.load(key)
            assert entry is not None
            assert entry.token is not None
            assert entry.token.value == f"token-{number}"


def test_an_entry_that_travels_between_clocks_does_not_drift(  # S58
    valkey: Valkey, key: TokenKey
) -> None:
    machines = [Machine("fast", HOUR, valkey.url), Machine("slow", -HOUR, valkey.url)]
    with machines[0].running() as store:
        store.save(key, Entry(token=replace(issued(clock.now()), generation=7)))
    for number in range(20):
        with machines[number % 2].running() as store:
            entry = store.load(key)
            assert entry is not None
            news = Entry.of_failure(replace(failure(clock.now()), generation=8 + number))
            store.save(key, join(entry, news))
    for machine in machines:
        assert HOUR - SOON < seconds_left(machine, key) <= HOUR


def test_a_boot_time_counts_only_on_the_same_machine(  # F16
    valkey: Valkey, key: TokenKey
) -> None:
    here, there = Machine("here", 0.0, valkey.url), Machine("there", 0.0, valkey.url)
    with here.running() as store:
        token = issued(clock.now())
        store.save(key, Entry(token=token))
    with here.running() as store:
        entry = store.load(key)
    assert entry is not None
    assert content(timeless(entry)) == content(timeless(Entry(token=token)))

    # this machine has been running for a day longer
    since_boot = clock._since_boot
    with there.running() as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "_since_boot", lambda: since_boot() + DAY)
        entry = store.load(key)
    assert entry is not None
    assert entry.token is not None
    assert token.issued_boot is not None
    assert entry.token.issued_boot == pytest.approx(token.issued_boot + DAY, abs=SOON)


def test_entries_are_stored_on_the_clock_of_the_server(  # S58
    valkey: Valkey, key: TokenKey
) -> None:
    wrong = Machine("wrong", 40 * 365 * DAY, valkey.url)
    with wrong.running() as store:
        whole = Entry(
            token=replace(issued(clock.now()), generation=7),
            failures=(replace(failure(clock.now(), pause=LONGEST_WAIT / 2), generation=8),),
        )
        store.save(key, whole)
    data = valkey.client.get(wrong.store.entry_name(key))
    assert isinstance(data, bytes)
    body = json.loads(data)
    assert abs(body["token"]["issued_at"] - time.time()) < SOON
    assert abs(body["token"]["expires_at"] - time.time() - HOUR) < SOON
    assert abs(body["failures"][0]["at"] - time.time()) < SOON


def test_a_load_asks_the_server_once_and_a_save_twice(valkey: Valkey, key: TokenKey) -> None:
    store = RedisStore(valkey.url)
    store.load(key)
    before = valkey.commands()["eval"]
    store.load(key)
    assert valkey.commands()["eval"] - before == 1
    store.save(key, Entry(token=issued(clock.now())))
    assert valkey.commands()["eval"] - before == 3


@pytest.mark.parametrize("step", [HOUR / 2, -HOUR / 2])
def test_setting_the_clock_after_the_grant_changes_no_lifetime(  # S58
    valkey: Valkey, key: TokenKey, step: float
) -> None:
    stepping, other = Machine("stepping", 0.0, valkey.url), Machine("other", 0.0, valkey.url)
    with stepping.running():
        token = replace(issued(clock.now()), generation=7)
    stepping.ahead = step
    with stepping.running() as store:
        store.save(key, Entry(token=token))
    assert HOUR - SOON < seconds_left(other, key) <= HOUR
