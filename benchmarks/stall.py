"""How long a call waits for its token: one call every 5 ms over several renewals."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.calls import Call, paced
from benchmarks.harness import alone, prepared
from benchmarks.peers.registry import SUBJECT
from benchmarks.report import Result, Table, percentile, spread

if TYPE_CHECKING:
    from benchmarks.harness import Run

LATENCY = 0.3
"""Seconds that the token endpoint takes."""

PERIOD = 2
"""Seconds from one renewal to the next."""

PACE = 0.005

TYPICAL = ("by_hand", "oauth2client")
"""Pictured whatever they do."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One peer over several renewals."""

    calls: list[Call]
    refused: int
    grants: int

    def milliseconds(self, share: float) -> float:
        """A percentile of the time of a call."""
        return 1000 * percentile([call.seconds for call in self.calls], share)


def measure(run: Run) -> Result:
    """One thread and four, each peer in turn."""
    tables: list[Table] = []
    data: dict[str, object] = {"latency": LATENCY, "period": PERIOD, "pace": PACE}
    for threads in run.pick((1,), (1,), (1, 4)):
        trials: dict[str, list[Trial]] = {name: [] for name in run.peers}
        for _ in range(run.pick(1, 1, 2)):
            # a smoke run only looks whether they renew, which all can do at once
            with ThreadPoolExecutor(run.pick(len(run.peers), 1, 1)) as pool:
                order = run.shuffled(list(run.peers))
                found = pool.map(partial(trial, run, threads), order)
                for name, one in zip(order, found, strict=True):
                    trials[name].append(one)
        tables.append(_table(run, trials, threads))
        data[f"{threads} threads"] = {name: _kept(found) for name, found in trials.items()}
        if threads == 1:
            data["calls"] = {name: _calls(trials[name]) for name in _pictured(run, trials)}
    data["titles"] = {name: peer.title for name, peer in run.peers.items()}
    return Result("stall", TOLD, tables, data)


TOLD = (
    f"One call every {PACE * 1000:.0f} ms while a token is renewed every {PERIOD} s; the token "
    f"endpoint takes {LATENCY * 1000:.0f} ms. The first token is there before. Milliseconds that "
    "the auth takes, `max` over all rounds; calls whose token was dead, so that an API would have "
    "answered 401; grants. The static header shows what the machine itself adds. The picture shows "
    "each call of one thread, in the round with the longest wait."
)


def trial(run: Run, threads: int, name: str) -> Trial:
    """Drive one peer."""
    peer = run.peers[name]
    renewals = run.pick(1, 1, 3)
    lifetime = peer.lifetime(PERIOD) if not peer.unable_to_renew else 3600
    site = run.site(peer, expires_in=lifetime, delay=LATENCY)
    auth = peer.open(site)
    auth(prepared())
    # who renews in the call that finds it due has a period that is longer by the endpoint's time
    end = time.monotonic() + (PERIOD + LATENCY) * renewals + 0.8
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(paced, auth, PACE, end) for _ in range(threads)]
        calls = [call for job in jobs for call in job.result()]
    ledger = run.endpoint.ledger(site)
    refused = sum(call.failed or ledger.dead(call.header, call.moment) for call in calls)
    if not peer.unable_to_renew:
        assert renewals <= len(ledger.grants) - 1, f"{peer.title} has not renewed"
    return Trial(calls, refused, len(ledger.grants))


def worst(found: list[Trial]) -> Trial:
    """The round with the longest wait: what the table and the picture show."""
    return max(found, key=lambda trial: trial.milliseconds(1))


def _kept(found: list[Trial]) -> dict[str, object]:
    return {
        "p50_ms": [t.milliseconds(0.5) for t in found],
        "p999_ms": [t.milliseconds(0.999) for t in found],
        "max_ms": [t.milliseconds(1) for t in found],
        "refused": [t.refused for t in found],
        "grants": [t.grants for t in found],
        "count": len(found[0].calls),
    }


def _pictured(run: Run, trials: dict[str, list[Trial]]) -> list[str]:
    """Evertoken, the peer that comes nearest to it, a lock by hand, and a library as most are."""
    rivals = [n for n, peer in run.peers.items() if n != SUBJECT and not peer.unable_to_renew]
    nearest = min(rivals, key=lambda name: worst(trials[name]).milliseconds(1))
    wanted = dict.fromkeys((SUBJECT, nearest, *TYPICAL))
    return [name for name in wanted if name in trials]


def _calls(found: list[Trial]) -> list[tuple[float, float]]:
    """Each call of the round with the longest wait: when (s), and how long it took (ms)."""
    calls = worst(found).calls
    start = calls[0].moment
    return [(round(call.moment - start, 3), round(1000 * call.seconds, 4)) for call in calls]


def _table(run: Run, trials: dict[str, list[Trial]], threads: int) -> Table:
    rows = [
        [
            run.peers[name].title,
            *(spread([t.milliseconds(p) for t in found], f) for p, f in SHARES),
            f"{worst(found).milliseconds(1):.1f}",
            str(sum(t.refused for t in found)),
            spread([float(t.grants) for t in found]),
            run.peers[name].unable_to_renew,
        ]
        for name, found in trials.items()
    ]
    columns = ["", "p50", "p99.9", "max", "401s", "grants", ""]
    return Table(f"Milliseconds per auth call across renewals, {threads} thread(s)", columns, rows)


SHARES = ((0.5, ".3f"), (0.999, ".1f"))

if __name__ == "__main__":
    alone("stall")
