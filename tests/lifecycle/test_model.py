"""A state machine over managers and their stores: time, outage, refusal, 401, revocation."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from evertoken import (
    FileStore,
    GrantRefused,
    GrantUnavailable,
    MemoryStore,
    RefreshPolicy,
    RefreshTimeout,
    Token,
    TokenError,
    TokenKey,
    TokenManager,
    ownership,
)
from evertoken.core.exchange import FIRST_PAUSE, FIRST_TRIES
from evertoken.core.policy import GRANT_FLOOR
from evertoken.engine import store_watcher
from evertoken.runtime import clock, pool
from evertoken.stores import redis
from evertoken.stores.redis import RedisStore
from support.fleet import eventually
from support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.instant import Instant
    from evertoken.ports import TokenStore

pytestmark = pytest.mark.slow

T = TypeVar("T")

BOUND = 20.0
"""Seconds of real time. A call that takes longer is a deadlock."""

HOUR = 3600.0
START = 1_800_000_000.0
POLICY = RefreshPolicy(jitter=0.0)
EDGE = 0.5
SLACK = 1e-6


@dataclass
class Asked:
    """One request to the token endpoint, on the clock since boot.

    Attributes:
        forced: caused by `refresh()`, by a 401, or by the loss of the last token.
        in_vain: with credentials whose refusal the process still has to wait out.
    """

    at: float
    credentials: int
    forced: bool
    in_vain: bool
    granted: bool = False


class World:
    """The server, and both clocks, which stand still until they are moved."""

    def __init__(self) -> None:
        self.wall = START
        self.boot = 1000.0
        self.lifetime = 3600.0
        self.down: TokenError | None = None
        self.password = 0
        self.grants: list[Token] = []
        self.asked: list[Asked] = []
        self.dead: set[str] = set()
        self.forced = False
        self.lost = False

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


def number_of(token: Token) -> int:
    """The number of the token among all grants of the world."""
    return int(token.value.removeprefix("token-"))


class FakeGrant:
    """A grant that uses the world instead of a server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.password = 0
        self.manager: TokenManager | None = None
        self.key = TokenKey("https://tokens.example/", "client")

    def request(self) -> Token:
        world = self.world
        forced = world.forced or world.lost
        asked = Asked(
            world.boot, self.password, forced, in_vain=not world.forced and self.remembers()
        )
        world.asked.append(asked)
        if self.password != world.password:
            raise GrantRefused("wrong password", status=400, error="invalid_grant")
        if world.down is not None:
            raise world.down.again()
        token = Token(f"token-{len(world.grants)}", world.wall, world.wall + world.lifetime)
        world.grants.append(token)
        asked.granted = True
        # no two tokens are issued at the same instant
        world.sleep(0.001)
        world.lost = False
        return token

    def remembers(self) -> bool:
        """Whether the process knows that these credentials are refused and in cool-down."""
        failure = None if self.manager is None else self.manager.renewer.snapshot.failure
        if failure is None or not failure.refused:
            return False
        same = failure.credentials_hash == ownership.fingerprint(ownership.source_of(self))
        return same and failure.remaining(clock.now()) > SLACK

    def revoke(self, token: Token) -> None:
        self.world.dead.add(token.value)

    def credentials_tag(self, salt: bytes) -> bytes:
        return hashlib.sha256(salt + bytes([self.password])).digest()


class Fleet(RuleBasedStateMachine):
    """Two processes, each with its memory, and one folder."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.folder = Path(tempfile.mkdtemp(prefix="evertoken-model-"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(time, "time", lambda: self.world.wall)
        self.patch.setattr(clock, "_since_boot", lambda: self.world.boot)
        self.patch.setattr(clock, "sleep", self.world.sleep)
        self.grants = [FakeGrant(self.world), FakeGrant(self.world)]
        self.managers: list[TokenManager] = []
        # the number of the newest token seen in the store
        self.latest_shared: int | None = None
        # when each token was invalidated or revoked, on the clock since boot
        self.died_at: dict[str, float] = {}

    @initialize(lifetime=st.sampled_from([0.5, 0.75, 2.0, 3600.0]))
    def begin(self, lifetime: float) -> None:
        self.world.lifetime = lifetime
        self.reader = self.store()
        self.managers = [self.started(grant) for grant in self.grants]

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    def store(self) -> TokenStore:
        """The shared store, as in one more process."""
        return FileStore(self.folder)

    def started(self, grant: FakeGrant) -> TokenManager:
        grant.manager = TokenManager(
            grant, store=self.store(), memory=MemoryStore(), policy=POLICY, timeout=BOUND
        )
        return grant.manager

    # --- what may happen ------------------------------------------------------------------------

    @rule(which=st.integers(0, 1))
    def ask(self, which: int) -> None:
        now = clock.now()
        token = self.bounded(self.managers[which].token)
        if token is not None:
            self.check_handed_out(token, now)

    @rule(which=st.integers(0, 1))
    def refresh(self, which: int) -> None:
        # no two calls happen at the same instant: a token of this instant would be new enough
        self.world.sleep(0.001)
        before = len(self.world.asked)
        self.world.forced = True
        token = self.bounded(self.managers[which].refresh)
        self.world.forced = False
        assert before < len(self.world.asked) <= before + FIRST_TRIES
        if token is not None:
            assert token.value == self.world.grants[-1].value
            self.check_handed_out(token, clock.now())

    @rule(which=st.integers(0, 1), revoked=st.booleans())
    def token_dies(self, which: int, *, revoked: bool) -> None:
        manager = self.managers[which]
        token = manager.renewer.snapshot.token
        if revoked:
            manager.revoke()
            for value in self.world.dead:
                self.died(value)
        elif token is not None:
            manager.invalidate(token)
            self.died(token.value)

    @rule(which=st.integers(0, 1))
    def api_answers_401(self, which: int) -> None:
        manager = self.managers[which]
        header = manager.renewer.snapshot.header
        if not header:
            return
        before = len(self.world.asked)
        self.world.forced = True
        replacement = self.bounded(lambda: manager.replacement(header))
        self.world.forced = False
        assert len(self.world.asked) <= before + 3
        assert replacement != header

    @rule()
    def all_ask_in_turn(self) -> None:
        for which in (0, 1, 0):
            self.ask(which)
            self.world.sleep(EDGE)

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        self.managers[which] = self.started(self.grants[which])

    @rule(
        which=st.integers(0, 1),
        edge=st.sampled_from(["due_at", "usable_until", "expiry"]),
        beside=st.sampled_from([-EDGE, 0.0, EDGE]),
    )
    def ask_at(self, which: int, edge: str, beside: float) -> None:
        snapshot = self.managers[which].renewer.snapshot
        token = snapshot.token
        if edge == "expiry":
            moment = -math.inf if token is None else token.expires_at
        else:
            moment = getattr(snapshot, edge).wall
        if math.isfinite(moment):
            self.world.sleep(max(0.0, moment + beside - self.world.wall))
        self.ask(which)

    @rule(seconds=st.sampled_from([0.1, 1.0, 1.5, 301.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @rule(down=st.booleans(), retry_after=st.sampled_from([None, 0.5, 100.0]))
    def outage_begins_or_ends(self, *, down: bool, retry_after: float | None) -> None:
        error = GrantUnavailable("down", status=503, retry_after=retry_after, transient=True)
        self.world.down = error if down else None

    @rule(which=st.integers(0, 1), corrected=st.booleans())
    def password_changes(self, which: int, *, corrected: bool) -> None:
        if corrected:
            self.grants[which].password = self.world.password
        else:
            self.world.password += 1

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def a_later_token_is_not_lost_to_an_earlier_one(self) -> None:
        if not self.managers:
            return
        entry = self.reader.load(self.grants[0].key)
        shared = None if entry is None else entry.token
        if shared is not None:
            assert shared.value not in self.died_at, "a dead token came back"
            number, latest = number_of(shared), self.latest_shared
            if latest is not None and self.world.grants[latest].expires_at > self.world.wall:
                assert number >= latest
            self.latest_shared = number

    @invariant()
    def requests_are_spaced(self) -> None:
        for earlier, later in pairwise(self.world.asked):
            least = GRANT_FLOOR if earlier.granted else FIRST_PAUSE
            other = not earlier.granted and later.credentials != earlier.credentials
            assert later.forced or other or later.at - earlier.at >= least - SLACK
        assert not any(asked.in_vain for asked in self.world.asked), "refused credentials again"

    def check_handed_out(self, token: Token, now: Instant) -> None:
        # as of the time of the call: a renewal in the background moves the clock
        assert now.wall < token.expires_at, "a token was handed out after its end"
        assert token.value == self.world.grants[number_of(token)].value
        late = now.boot - self.died_at.get(token.value, now.boot)
        assert late <= POLICY.recheck + SLACK, "a dead token was sent"

    def died(self, value: str) -> None:
        self.world.lost = self.world.lost or value not in self.died_at
        self.died_at.setdefault(value, self.world.boot)
        latest = self.latest_shared
        if latest is not None and self.world.grants[latest].value == value:
            self.latest_shared = None

    def bounded(self, call: Callable[[], T]) -> T | None:
        """The result of `call`, or None without a token; a deadlock raises."""
        results: list[T | None] = []

        def run() -> None:
            try:
                results.append(call())
            except TokenError:
                results.append(None)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(BOUND)
        assert results, "a deadlock"
        self.settle()
        return results[0]

    def settle(self) -> None:
        """Wait for a renewal in the background, before the clock is moved again."""
        for manager in self.managers:
            error = manager.settle(timeout=BOUND)
            assert not isinstance(error, RefreshTimeout), "a deadlock"
        # what a renewal learnt is saved after its waiting callers were released
        eventually(lambda: not pool._pool()._tasks, within=BOUND)


class WorldsRedis(RedisStore):
    """A Redis store whose clock moves with the world's, an hour ahead of the machines'."""

    def __init__(self, url: str, world: World) -> None:
        super().__init__(url, timeout=BOUND, recheck=POLICY.recheck)
        self._world = world

    def _read(self, key: TokenKey) -> redis._Stored | None:
        stored = super()._read(key)
        if stored is None:
            return None
        return stored._replace(reading=stored.reading._replace(server=self._world.wall + HOUR))


class Machines(Fleet):
    """Two machines that share a Valkey."""

    server: ClassVar[Valkey]

    def __init__(self) -> None:
        super().__init__()
        # wait for a poll that takes long, as on a busy machine
        self.patch.setattr(store_watcher, "POLL_WAIT", BOUND)
        # keys expire on a real clock, which runs while the world's stands still
        self.patch.setattr(redis, "_keep", lambda _entry, _now: HOUR)
        self.server.client.flushall()
        self.stores: list[RedisStore] = []

    def store(self) -> TokenStore:
        self.stores.append(WorldsRedis(self.server.url, self.world))
        return self.stores[-1]

    def teardown(self) -> None:
        super().teardown()
        for store in self.stores:
            client = store._server._client
            if isinstance(client, Redis):
                client.connection_pool.disconnect()


def test_any_sequence_of_events_on_two_machines_keeps_the_rules() -> None:
    with Valkey() as Machines.server:
        run_state_machine_as_test(Machines, settings=settings(QUICK, max_examples=60))


QUICK = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
TestFleet = Fleet.TestCase
TestFleet.settings = QUICK
