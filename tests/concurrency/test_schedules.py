"""Renewals under any interleaving. Each seed is one interleaving, and can be replayed.

`pytest tests/concurrency/test_schedules.py --schedule-seed N` runs only that seed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest

from evertoken import FileStore, MemoryStore, RefreshPolicy, Token, TokenManager
from evertoken.engine.driver import Driver
from support.fleet import CountingGrant
from support.schedule import Deadlock, Lock, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from evertoken.core.effects import Steps

pytestmark = pytest.mark.slow

R = TypeVar("R")

LIFETIME = 3600.0
TAKES = (0.0, 0.1, 0.2, 0.3)
"""Seconds of virtual time: how long a grant takes, and when callers arrive, if not at once."""

POLICY = RefreshPolicy()


class SlowGrant(CountingGrant):
    """A grant during which other threads run."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(lifetime=LIFETIME)
        self.schedule = schedule
        self.takes: tuple[float, ...] = TAKES

    def request(self) -> Token:
        token = super().request()
        self.schedule.sleep(self.schedule.draw(*self.takes))
        return token

    def revoke(self, token: Token) -> None:
        self.schedule.sleep(self.schedule.draw(*TAKES))
        super().revoke(token)


@dataclass
class Fleet:
    """Two managers of one identity, and the tokens they returned.

    Attributes:
        died_at: when a token was revoked or invalidated, in seconds of virtual time.
        killed: the tokens that the first manager has revoked or invalidated.
    """

    schedule: Schedule
    grant: SlowGrant
    managers: list[TokenManager]
    died_at: dict[str, float] = field(default_factory=dict)
    killed: set[str] = field(default_factory=set)

    def asks(self, which: int) -> Callable[[], Token]:
        return lambda: self._had(which)

    def died(self, *values: str) -> None:
        """Record that the first manager has revoked or invalidated them."""
        for value in values:
            self.died_at.setdefault(value, self.schedule.seconds)
            self.killed.add(value)

    def _had(self, which: int) -> Token:
        manager = self.managers[which]
        killed = set(self.killed) if which == 0 else set[str]()
        renewal = manager.renewer.in_flight
        token = manager.token()
        assert renewal is None or token != renewal.request.rejected, "a token that an API refused"
        assert token.value not in killed, "a token that this very manager had dropped"
        now = self.schedule.seconds
        assert token.issued_at + token.lifetime > self.schedule.wall(), "a token after its end"
        late = now - self.died_at.get(token.value, now)
        assert late <= POLICY.recheck, "a dead token"
        return token

    def begins(self) -> Token:
        """Give all of them the first token."""
        first, second = self.run(self.asks(0), self.asks(1))
        assert first == second
        assert self.grant.requests == 1
        assert isinstance(first, Token)
        # to refresh() a token of its own instant is new
        self.schedule.sleep(0.001)
        # enables the one-clock check
        assert self.run(self.asks(0), self.asks(1)) == [first, first]
        return first

    def _later(self, call: Callable[[], object], delays: Sequence[float]) -> object:
        self.schedule.sleep(self.schedule.draw(*delays))
        return call()

    def run(self, *calls: Callable[[], object]) -> list[object]:
        delays = TAKES if self.schedule.draw(0.0, 1.0) else (0.0,)
        results = self.schedule.run(*(partial(self._later, call, delays) for call in calls))
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results


def nobody_has_a_token(fleet: Fleet) -> None:
    tokens = fleet.run(*(fleet.asks(number % 2) for number in range(4)))
    assert len({token for token in tokens if isinstance(token, Token)}) == 1
    assert fleet.grant.requests == 1


def one_manager_is_asked_by_all(fleet: Fleet) -> None:
    manager = TokenManager(fleet.grant, memory=MemoryStore(), policy=POLICY)
    running = [0]
    run = Driver.run

    def counted(self: Driver, steps: Steps[R]) -> R:
        running.append(running[-1] + 1)
        try:
            return run(self, steps)
        finally:
            running.append(running[-1] - 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Driver, "run", counted)
        fleet.run(*[manager.token] * 4)
    assert max(running) == 1, "two renewals at a time"
    assert fleet.grant.requests == 1


def the_token_is_over(fleet: Fleet) -> None:
    first = fleet.begins()
    fleet.schedule.sleep(LIFETIME)
    tokens = fleet.run(*(fleet.asks(number % 2) for number in range(4)))
    assert first not in tokens
    assert fleet.grant.requests == 2


def the_token_is_due(fleet: Fleet) -> None:
    first = fleet.begins()
    fleet.schedule.sleep(LIFETIME - 60)
    before = fleet.schedule.seconds
    tokens = fleet.run(*(fleet.asks(number % 2) for number in range(4)))
    assert len(set(tokens) - {first}) <= 1
    assert fleet.grant.requests == 2
    fleet.schedule.sleep(POLICY.recheck)
    assert first not in fleet.run(fleet.asks(0), fleet.asks(1))
    assert fleet.schedule.seconds < before + 60
    assert fleet.grant.requests == 2


def an_api_rejects_the_token(fleet: Fleet) -> None:
    first = fleet.begins()
    manager = fleet.managers[0]
    rejected = f"Bearer {first.value}"
    headers = fleet.run(*[lambda: manager.replacement(rejected)] * 3, fleet.asks(0))
    assert fleet.grant.requests == 2
    assert set(headers[:3]) == {manager.renewer.snapshot.header}
    assert rejected not in headers[:3]


def a_token_is_invalidated(fleet: Fleet) -> None:
    first = fleet.begins()

    def invalidate() -> object:
        fleet.managers[0].invalidate(first)
        fleet.died(first.value)
        return fleet.asks(0)()

    fleet.run(invalidate, fleet.asks(0), fleet.asks(1), fleet.asks(1))
    assert fleet.grant.requests == 2


def a_token_is_revoked(fleet: Fleet) -> None:
    fleet.begins()

    def revoke() -> object:
        fleet.managers[0].revoke()
        fleet.died(*fleet.grant.revoked)
        return fleet.asks(0)()

    fleet.run(revoke, fleet.asks(0), fleet.asks(1), fleet.asks(1))
    fleet.schedule.sleep(POLICY.recheck)
    first, second = fleet.run(fleet.asks(0), fleet.asks(1))
    assert first == second
    assert isinstance(first, Token)
    assert first.value not in fleet.grant.revoked
    assert fleet.grant.requests == 2


def a_token_is_revoked_amid_a_slow_renewal(fleet: Fleet) -> None:
    manager = TokenManager(fleet.grant, memory=MemoryStore(), policy=POLICY, timeout=30.0)
    fleet.run(manager.token)
    # to refresh() a token of its own instant is new
    fleet.schedule.sleep(0.001)
    # longer than a revocation waits for a lock
    fleet.grant.takes = (20.0,)

    def revoke() -> None:
        fleet.schedule.sleep(1.0)
        fleet.grant.takes = TAKES
        manager.revoke()

    fresh, _ = fleet.run(manager.refresh, revoke)
    assert isinstance(fresh, Token)
    assert fleet.grant.requests == 3, "one before, one amid and one after the revocation"
    assert {value.split("-")[1] for value in fleet.grant.revoked} == {"1", "2"}
    assert fresh.value not in fleet.grant.revoked
    assert fleet.run(manager.token) == [fresh]


def a_token_is_invalidated_before_its_renewal_ends(fleet: Fleet) -> None:
    one, other = fleet.managers

    def invalidate() -> None:
        token = other.token()
        one.invalidate(token)
        fleet.died(token.value)

    fleet.run(invalidate, fleet.asks(0), fleet.asks(0))
    assert fleet.grant.requests <= 2


def some_refresh(fleet: Fleet) -> None:
    first = fleet.begins()
    refresh = fleet.managers[0].refresh
    tokens = fleet.run(refresh, refresh, fleet.asks(0), fleet.asks(1))
    assert first not in tokens[:2]
    # one joins the other, unless it started after the other's result
    assert 2 <= fleet.grant.requests <= 3


SCENARIOS = [
    nobody_has_a_token,
    one_manager_is_asked_by_all,
    the_token_is_over,
    the_token_is_due,
    an_api_rejects_the_token,
    a_token_is_invalidated,
    a_token_is_revoked,
    a_token_is_revoked_amid_a_slow_renewal,
    a_token_is_invalidated_before_its_renewal_ends,
    some_refresh,
]


def two_managers(schedule: Schedule, folder: Path, *, shared: bool) -> Fleet:
    """Two managers in one process, or as in two processes that share only a folder."""
    grant = SlowGrant(schedule)
    folder = folder / grant.key.digest()
    memory = MemoryStore()
    memories = [memory, memory if shared else MemoryStore()]
    managers = [
        TokenManager(grant, store=FileStore(folder), memory=memory, policy=POLICY)
        for memory in memories
    ]
    return Fleet(schedule, grant, managers)


@pytest.fixture
def seeds(request: pytest.FixtureRequest, *, soak: bool) -> range:
    chosen = request.config.getoption("--schedule-seed")
    if chosen is not None:
        return range(chosen, chosen + 1)
    return range(2000 if soak else 40)


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("shared", [True, False], ids=["one process", "two processes"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_any_interleaving_keeps_the_rules(
    scenario: Callable[[Fleet], None], tmp_path: Path, seeds: range, *, shared: bool
) -> None:
    for seed in seeds:
        schedule = Schedule(seed)
        with schedule.installed():
            try:
                scenario(two_managers(schedule, tmp_path, shared=shared))
            except Exception as error:
                raise AssertionError(f"replay it with --schedule-seed {seed}") from error


# --- the scheduler itself ------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_seed_is_the_same_interleaving(
    scenario: Callable[[Fleet], None], tmp_path: Path
) -> None:
    decisions = []
    for seed in (1, 1, 2):
        schedule = Schedule(seed)
        with schedule.installed():
            scenario(two_managers(schedule, tmp_path, shared=False))
        decisions.append(schedule.decisions)
    assert decisions[0] == decisions[1] != decisions[2]
    assert len(decisions[0]) > 20


def test_a_deadlock_is_reported() -> None:
    found = 0
    for seed in range(10):
        schedule = Schedule(seed)
        one, other = (Lock(schedule, reentrant=False) for _ in range(2))

        def crossed(first: Lock, second: Lock) -> None:
            with first, second:
                pass

        try:
            schedule.run(lambda: crossed(one, other), lambda: crossed(other, one))  # noqa: B023  run at once
        except Deadlock:
            found += 1
    assert 0 < found < 10
