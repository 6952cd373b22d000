"""Ten thousand workers around the end of a token, on a simulated clock and with the real policy.

What is simulated is time, the network and a Redis that answers at once or not at all, and for how
long a worker leaves one alone that does not; when a worker renews, waits or looks is decided by
`evertoken.core.state`, and what a store holds by `join`.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from benchmarks.figures import FLEET
from evertoken import RefreshPolicy, Token
from evertoken.core import state
from evertoken.core.entry import Entry, join, next_generation
from evertoken.core.instant import Instant
from evertoken.core.outcome import Result, Source, apply_result
from evertoken.core.state import Action
from evertoken.stores.circuit_breaker import FIRST_PAUSE, JITTER, LONGEST_PAUSE
from evertoken.stores.redis_lock import FIRST_POLL, LONGEST_POLL

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.state import Snapshot

LIFETIME = 36_000.0
RULES = RefreshPolicy()
START = 1_000_000.0
TIMEOUT = 0.5
"""Seconds after which Redis gave no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a fleet goes through; all times in seconds.

    Attributes:
        recheck: the store's own.
        lease: of the lock; shorter than `grant`, every lease is lost.
        outage: from when to when Redis gives no answer, counted from the token's issue.
        dead: whether the first one that holds the lock dies with it.
        begin, end: which part of the token's life is simulated, counted likewise.
        cold: whether they start without a token, all within ten seconds.
    """

    name: str
    workers: int = 10_000
    recheck: float = 10.0
    lease: float = 35.0
    grant: float = 0.5
    outage: tuple[float, float] = (0.0, 0.0)
    begin: float = LIFETIME - 170
    end: float = LIFETIME + 5
    dead: bool = False
    cold: bool = False


@dataclass(slots=True)
class Worker:
    """A process that makes a request a second."""

    draw: float
    looked_at: float
    snapshot: Snapshot = state.EMPTY
    flying: bool = False
    poll: float = FIRST_POLL
    pause: float = 0.0
    closed_until: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What it came to, second by second."""

    grants: Counter[int] = field(default_factory=Counter)
    commands: Counter[int] = field(default_factory=Counter)
    waits: int = 0


class Fleet:
    """Workers, one Redis, and what happens next."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.outcome = Outcome()
        self._random = random.Random(7)  # noqa: S311  a simulation that can be repeated
        self._entry = Entry()
        self._holder: Worker | None = None
        self._lease_end = 0.0
        self._died = False
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        if not scenario.cold:
            self._entry = Entry.of_token(
                Token("first", START, START + LIFETIME, generation=int(START))
            )
        spread = 10.0 if scenario.cold else 1.0
        for _ in range(scenario.workers):
            worker = Worker(self._random.random(), 0.0)
            first = START + scenario.begin + spread * self._random.random()
            worker.looked_at = first - scenario.recheck * self._random.random()
            if self._entry.token is not None:
                now = Instant(first, first)
                worker.snapshot = state.with_token(
                    worker.snapshot, self._entry.token, now, RULES, jitter_fraction=worker.draw
                )
            self._at(first, self._request, worker)

    def run(self) -> Outcome:
        """Let the time pass."""
        while self._agenda and self._agenda[0][0] < START + self.scenario.end:
            time, _, happen = heapq.heappop(self._agenda)
            happen(time)
        return self.outcome

    def _at(self, time: float, happen: Callable[[Worker, float], None], worker: Worker) -> None:
        heapq.heappush(self._agenda, (time, next(self._order), lambda t: happen(worker, t)))

    def _down(self, time: float) -> bool:
        since, until = self.scenario.outage
        return since <= time - START < until

    def _answers(self, worker: Worker, time: float) -> bool:
        """Whether Redis answers this worker, which leaves it alone for longer and longer if not."""
        if time < worker.closed_until:
            return False
        if not self._down(time):
            worker.pause = 0.0
            return True
        worker.pause = min(2 * worker.pause, LONGEST_PAUSE) or FIRST_PAUSE
        worker.closed_until = time + TIMEOUT + worker.pause * (1 - JITTER * worker.draw)
        return False

    def _command(self, time: float, count: int = 1) -> None:
        self.outcome.commands[int(time - START)] += count

    def _request(self, worker: Worker, time: float) -> None:
        self._at(time + 1.0, self._request, worker)
        now = Instant(time, time)
        known = worker.snapshot.token is not None
        if known and time - worker.looked_at >= self.scenario.recheck:
            worker.looked_at = time
            self._look(worker, now)
        action = state.decide(worker.snapshot, now)
        self.outcome.waits += action is Action.REFRESH_OR_WAIT and known
        if action is not Action.USE and not worker.flying:
            worker.flying = True
            self._fly(worker, time)

    def _look(self, worker: Worker, now: Instant) -> None:
        if self._answers(worker, now.boot):
            self._command(now.boot)
            worker.snapshot = state.merge_shared(
                worker.snapshot,
                self._entry,
                now,
                RULES,
                jitter_fraction=worker.draw,
                may_adopt=True,
            )

    def _fly(  # noqa: PLR0911  the steps of a renewal, each of which may be the last
        self, worker: Worker, time: float
    ) -> None:
        """Look, lock, look again; adopt, grant, or leave it to who holds the lock."""
        now = Instant(time, time)
        patient = not self._overdue(worker, now)
        if not self._answers(worker, time):
            return self._land(worker, time, None) if patient else self._grant(worker, time)
        waiting = worker.poll > FIRST_POLL
        if not waiting:
            self._command(time)
            if self._serves(worker, now):
                return self._land(worker, time, self._entry.token)
        self._command(time)
        free = self._holder is None or time >= self._lease_end
        if free:
            self._holder, self._lease_end = worker, time + self.scenario.lease
        if free or not waiting:
            self._command(time)
            if self._serves(worker, now):
                self._unlock(worker, time)
                return self._land(worker, time, self._entry.token)
        if free and self.scenario.dead and not self._died:
            self._died = True
            return None
        if free:
            return self._grant(worker, time)
        if patient:
            return self._land(worker, time, None)
        worker.poll = min(worker.poll * 1.5, LONGEST_POLL)
        return self._at(time + worker.poll * (1 + self._random.random() / 2), self._fly, worker)

    def _overdue(self, worker: Worker, now: Instant) -> bool:
        token = worker.snapshot.token
        return token is None or RULES.overdue_at(token, jitter_fraction=worker.draw).reached(now)

    def _serves(self, worker: Worker, now: Instant) -> bool:
        token = self._entry.token
        if token is None or not RULES.usable(token, now):
            return False
        return not RULES.due_at(token, jitter_fraction=worker.draw).reached(now)

    def _grant(self, worker: Worker, time: float) -> None:
        self.outcome.grants[int(time - START)] += 1
        generation = next_generation(worker.snapshot.entry, time)
        token = Token(f"{time}", time, time + LIFETIME, generation=generation)
        self._at(time + self.scenario.grant, lambda w, t: self._granted(w, t, token), worker)

    def _granted(self, worker: Worker, time: float, token: Token) -> None:
        if not self._down(time):
            self._command(time)
            self._entry = join(self._entry, Entry.of_token(token))
            self._unlock(worker, time)
        self._land(worker, time, token)

    def _unlock(self, worker: Worker, time: float) -> None:
        self._command(time, self._holder is worker)
        if self._holder is worker:
            self._holder = None

    def _land(self, worker: Worker, time: float, token: Token | None) -> None:
        worker.flying, worker.poll = False, FIRST_POLL
        now = Instant(time, time)
        source = Source.BUSY if token is None else Source.STORE
        worker.snapshot = apply_result(
            worker.snapshot,
            Result(source=source, token=token, entry=Entry(token)),
            now,
            RULES,
            jitter_fraction=worker.draw,
        )


DUE = LIFETIME - 150.0
"""When the first worker is due: jitter spreads the rest over the next 30 s."""

SCENARIOS = [
    Scenario(name="steady, recheck 1 s", recheck=1.0, begin=1000, end=1030),
    Scenario(name="steady, recheck 10 s", begin=1000, end=1030),
    Scenario(name="steady, recheck 30 s", recheck=30.0, begin=1000, end=1060),
    Scenario(name="edge, recheck 1 s", recheck=1.0),
    Scenario(name="edge"),
    Scenario(name="edge, recheck 30 s", recheck=30.0),
    Scenario(name="edge, slow grant of 10 s", grant=10.0),
    Scenario(name="edge, every lease lost", grant=10.0, lease=2.0),
    Scenario(name="edge, the holder dies", dead=True),
    Scenario(name="edge, 10 s outage", outage=(DUE, DUE + 10)),
    Scenario(name="edge, 30 s outage", outage=(DUE, DUE + 30)),
    Scenario(name="edge, 60 s outage", outage=(DUE, DUE + 60)),
    Scenario(name="edge, no end of the outage", outage=(DUE, LIFETIME * 2)),
    Scenario(name="cold start in 10 s", cold=True, begin=0, end=20),
]


class Row(TypedDict):
    """What one scenario came to: counts, and rates per second."""

    name: str
    grants: int
    grants_peak: int
    commands: float
    commands_peak: int
    per_worker: float
    waits: int


def row(scenario: Scenario) -> Row:
    """Simulate `scenario`."""
    outcome = Fleet(scenario).run()
    grants, commands = outcome.grants, outcome.commands.total()
    return Row(
        name=scenario.name,
        grants=grants.total(),
        grants_peak=max(grants.values(), default=0),
        commands=commands / (scenario.end - scenario.begin),
        commands_peak=max(outcome.commands.values(), default=0),
        per_worker=commands / scenario.workers,
        waits=outcome.waits,
    )


def main() -> None:
    """Print the table, and keep it in `results/simulated_fleet.json`: the same on any machine."""
    print(
        f"{'10,000 workers, a request/s each':32}{'grants':>8}{'peak/s':>10}"
        f"{'commands/s':>12}{'peak/s':>12}{'per worker':>12}{'waits':>8}"
    )
    rows = []
    for scenario in SCENARIOS:
        rows.append(row(scenario))
        print(
            "{name:32}{grants:8}{grants_peak:10}{commands:12.0f}{commands_peak:12}"
            "{per_worker:12.1f}{waits:8}".format_map(rows[-1]),
            flush=True,
        )
    with open(FLEET, "w", encoding="utf-8") as file:
        file.write(f"{json.dumps(rows, indent=1)}\n")


if __name__ == "__main__":
    main()
