"""The figures of a segment, and of all segments of a run: values that JSON holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict

from benchmarks.chaos.checker import surplus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.chaos.checker import Finding
    from benchmarks.chaos.history import Call, Fault, History
    from benchmarks.chaos.segment import Outcome


class Effect(TypedDict):
    """What came with one kind of fault, at the places that it concerned.

    Attributes:
        times: how often it was in force.
        calls, failed: the calls that met it, and those of them that raised.
        grants: beyond one per lifetime.
        longest: seconds for which a call waited for its token.
    """

    times: int
    calls: int
    failed: int
    grants: int
    longest: float


class Found(TypedDict):
    """A finding."""

    rule: int
    text: str
    slice: list[dict[str, object]]


class Summary(TypedDict):
    """A segment.

    Attributes:
        timeline: calls and failed calls of each second.
        spans: when each fault was in force, in seconds since the beginning.
    """

    seed: int
    seconds: float
    calls: int
    failed: int
    posts: int
    grants: int
    logins_lost: int
    findings: list[Found]
    faults: dict[str, Effect]
    timeline: list[tuple[int, int]]
    spans: list[tuple[str, float, float]]


def summary(outcome: Outcome, seconds: float) -> Summary:
    """The figures of a segment."""
    history = outcome.history
    ours = [it for it in history.calls if it.identity not in history.setting.strangers]
    return Summary(
        seed=outcome.seed,
        seconds=seconds,
        calls=len(ours),
        failed=sum(bool(it.error) for it in ours),
        posts=len(history.posts),
        grants=len(history.grants),
        logins_lost=len(history.logins),
        findings=[_found(history, it) for it in outcome.findings],
        faults=_effects(history, ours),
        timeline=_timeline(ours, outcome.began),
        spans=[
            (it.kind, round(it.began - outcome.began, 1), round(it.ended - outcome.began, 1))
            for it in history.faults
        ],
    )


def _found(history: History, finding: Finding) -> Found:
    """A finding with the faults that were in force meanwhile."""
    began = min((_moment(it) for it in finding.slice), default=0.0)
    ended = max((_moment(it) for it in finding.slice), default=0.0)
    meanwhile = [it for it in history.faults if it.overlaps(began, ended, after=5.0)]
    events = sorted([*finding.slice, *meanwhile], key=_moment)
    told = [{"event": type(it).__name__, **asdict(it)} for it in events]
    return Found(rule=finding.rule, text=finding.text, slice=told)


def _moment(event: object) -> float:
    moment: float = getattr(event, "at", getattr(event, "began", 0.0))
    return moment


def _effects(history: History, calls: Sequence[Call]) -> dict[str, Effect]:
    paid = Counter(
        fault.kind
        for identity in history.setting.places
        for _, _, fault in surplus(history, identity)
        if fault is not None
    )
    frozen = [it for it in history.faults if it.kind == "freeze"]
    kinds = sorted({it.kind for it in history.faults})
    return {
        kind: _effect([it for it in history.faults if it.kind == kind], calls, frozen, paid[kind])
        for kind in kinds
    }


def _effect(
    faults: Sequence[Fault], calls: Sequence[Call], frozen: Sequence[Fault], grants: int
) -> Effect:
    met = [
        call
        for call in calls
        if any(it.concerns(call.places) and _meets(it, call) for it in faults)
    ]
    awake = [
        waited(call)
        for call in met
        if not any(
            it.overlaps(call.began, call.ended) and call.process in it.places for it in frozen
        )
    ]
    return Effect(
        times=len(faults),
        calls=len(met),
        failed=sum(bool(it.error) for it in met),
        grants=grants,
        longest=round(max(awake, default=0.0), 2),
    )


def _meets(fault: Fault, call: Call) -> bool:
    return fault.overlaps(call.began, call.ended)


def waited(call: Call) -> float:
    """Seconds that a call took without its API."""
    return call.ended - call.began - sum(it.answered - it.at for it in call.requests)


def _timeline(calls: Iterable[Call], began: float) -> list[tuple[int, int]]:
    seconds = [(int(it.ended - began), bool(it.error)) for it in calls]
    every, failed = Counter(at for at, _ in seconds), Counter(at for at, bad in seconds if bad)
    return [(every[at], failed[at]) for at in range(max(every, default=0) + 1)]


def combined(segments: Sequence[Summary]) -> dict[str, Effect]:
    """The effects of all segments together, the most frequent kind of fault first."""
    total: dict[str, Effect] = {}
    for segment in segments:
        for kind, found in segment["faults"].items():
            known = total.setdefault(kind, Effect(times=0, calls=0, failed=0, grants=0, longest=0))
            total[kind] = Effect(
                times=known["times"] + found["times"],
                calls=known["calls"] + found["calls"],
                failed=known["failed"] + found["failed"],
                grants=known["grants"] + found["grants"],
                longest=max(known["longest"], found["longest"]),
            )
    return dict(sorted(total.items(), key=lambda item: -item[1]["times"]))
