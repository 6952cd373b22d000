"""Reads a history and says where a promise was broken: seven rules, pure functions."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.chaos.excuses import (
    FROZEN,
    SHORTEST_USE,
    STRANGE,
    may_lose,
    met,
    price,
    stopped,
)
from benchmarks.chaos.kinds import ALL, LONGEST_WAIT, SLACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmarks.chaos.history import Call, Event, Fault, History, Post

REPLACEMENT_PERIOD = 60.0
"""Seconds in which a process replaces a token of one identity once because of a 401."""

LATE = 1.0
"""Seconds before the end of a worker is noticed."""

RECOVERY = 5.0
"""Seconds allowed after the longest promised wait for everything to work again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken.

    Attributes:
        rule: the number of the broken rule; see `RULES`.
        text: what was broken, and where.
        slice: the events that show it, in the order of their times.
    """

    rule: int
    text: str
    slice: tuple[Event, ...]


def check(history: History) -> list[Finding]:
    """All that is wrong in a history."""
    return [found for rule in RULES for found in rule(history)]


# -- 1: no request carries a token that its process could know to be dead --------------------------


def dead_tokens(history: History) -> Iterator[Finding]:
    """Tokens sent after their end, or again after a 401 and a newer token."""
    for call in history.calls:
        for sent in call.requests:
            grant = history.grants.get(sent.token)
            if grant is None or sent.at <= grant.ends + SLACK / 2:
                continue
            if not met(history, FROZEN, (call.process, ALL), call.began, sent.at):
                late = sent.at - grant.ends
                yield Finding(1, f"{call.process} sent a token {late:.2f} s late", (grant, call))
    yield from _rejected_sent_again(history)


def _rejected_sent_again(history: History) -> Iterator[Finding]:
    """A process met a 401, has sent a newer token since, and sends the rejected one again."""
    rejected: dict[str, set[str]] = {}
    replaced: dict[tuple[str, str], float] = {}
    for at, call, token, status in _steps(history.calls):
        if token not in history.grants:
            continue
        process = call.process
        for dead in rejected.get(process, ()):
            if history.grants[token].at > history.grants[dead].at:
                replaced.setdefault((process, dead), at)
        late = status is None and at > replaced.get((process, token), at) + SLACK / 2
        if late and not met(history, FROZEN, (process, ALL), call.began, at):
            yield Finding(1, f"{process} sent a token again that was rejected", (call,))
        if status == 401:
            rejected.setdefault(process, set()).add(token)


def _steps(calls: Iterable[Call]) -> list[tuple[float, Call, str, int | None]]:
    """Each moment at which a request left (no status) or was answered."""
    sent = [(it.at, call, it.token, None) for call in calls for it in call.requests]
    answered = [(it.answered, call, it.token, it.status) for call in calls for it in call.requests]
    return sorted([*sent, *answered], key=lambda step: step[0])


# -- 2: one grant per lifetime, and what faults cost -----------------------------------------------


def surplus_grants(history: History) -> Iterator[Finding]:
    """Grants that came too early and that no fault excuses."""
    for identity in history.setting.places:
        for before, after, fault in surplus(history, identity):
            if fault is None:
                gap = after.at - before.at
                yield Finding(2, f"{identity}: two grants within {gap:.2f} s", (before, after))


def surplus(history: History, identity: str) -> Iterator[tuple[Post, Post, Fault | None]]:
    """Each grant that came too early, the one before it, and the fault that it is the price of."""
    granted = [it for it in history.posts if it.identity == identity and it.token]
    used: Counter[Fault] = Counter()
    for before, after in pairwise(granted):
        if after.at - before.at < SHORTEST_USE * history.setting.lifetime:
            fault = price(history, history.setting.places[identity], before, after, used)
            used.update([fault] if fault else [])
            yield before, after, fault


# -- 3: no refresh token is spent twice, no login lost ---------------------------------------------


def lost_logins(history: History) -> Iterator[Finding]:
    """Refresh tokens posted again, and logins lost, without a fault that allows it."""
    spent: dict[tuple[str, str], Post] = {}
    for post in history.posts:
        if post.identity not in history.setting.exclusive or not post.credential:
            continue
        first = spent.get((post.identity, post.credential))
        if (
            first
            and post.at - first.at > history.setting.grace
            and not may_lose(history, post.identity, post.at)
        ):
            since = post.at - first.at
            text = f"{post.identity}: a refresh token was posted again after {since:.2f} s"
            yield Finding(3, text, (first, post))
        if post.outcome == "granted":
            spent.setdefault((post.identity, post.credential), post)
    for login in history.logins:
        if not may_lose(history, login.identity, login.lost):
            yield Finding(3, f"{login.identity}: the login was lost", (login,))


# -- 4: no token crosses an identity or a credential -----------------------------------------------


def crossed_tokens(history: History) -> Iterator[Finding]:
    """Tokens of other identities, tokens of strangers, and wrong passwords posted too often."""
    for call in history.calls:
        for sent in call.requests:
            grant = history.grants.get(sent.token)
            if grant is None:
                yield Finding(4, f"{call.process} sent a token that nobody granted", (call,))
            elif grant.identity != call.identity:
                text = f"{call.process} of {call.identity} sent a token of {grant.identity}"
                yield Finding(4, text, (grant, call))
            if call.identity in history.setting.strangers and sent.token:
                yield Finding(4, f"{call.process} has wrong credentials and a token", (call,))
    for identity in sorted(history.setting.strangers):
        yield from _posted_in_cooldown(history, identity)


def _posted_in_cooldown(history: History, identity: str) -> Iterator[Finding]:
    posts = [it for it in history.posts if it.identity == identity and it.outcome != "fault"]
    for post in posts:
        if post.outcome == "granted":
            yield Finding(4, f"{identity}: wrong credentials were granted a token", (post,))
    used: Counter[Fault] = Counter()
    for before, after in pairwise(posts):
        if after.at - before.at >= history.setting.cooldown - SLACK:
            continue
        places = history.setting.places[identity]
        if excuse := price(history, places, before, after, used):
            used[excuse] += 1
        else:
            gap = after.at - before.at
            text = f"{identity}: wrong credentials posted again after {gap:.2f} s"
            yield Finding(4, text, (before, after))


# -- 5: no call fails without need, none waits beyond its timeout ----------------------------------


def failed_calls(history: History) -> Iterator[Finding]:
    """Calls that failed, or waited, though nothing explains it."""
    last: dict[str, Call] = {}
    for call in sorted(history.calls, key=lambda it: it.ended):
        if call.status == 200:
            last[call.process] = call
        if call.identity in history.setting.strangers:
            continue
        if call.error and (why := _needless(history, call, last.get(call.process))):
            yield Finding(5, f"{call.process}: {call.error}, {why}", (call,))
        if call.foreign and not met(history, STRANGE, call.places, call.began, call.ended):
            yield Finding(5, f"{call.process}: {call.foreign}", (call,))
        if call.status == 401 and not _irreplaceable(history, call):
            yield Finding(5, f"{call.process}: a 401 that was not replaced", (call,))
    yield from _long_waits(history)


def _needless(history: History, call: Call, before: Call | None) -> str:
    """Why this failure need not have been; empty if it is explained."""
    if before is not None and _still_usable(history, before, call):
        return "though its token was usable"
    return "" if stopped(history, call) else "though nothing kept the endpoint from answering"


def _still_usable(history: History, before: Call, call: Call) -> bool:
    """Whether the token of the call before is one that the whole of this call could have used."""
    grant = history.grants.get(before.requests[-1].token)
    if grant is None or call.ended > grant.ends - history.setting.lifetime / 20 - SLACK / 2:
        return False
    ended = any(
        it.identity == call.identity and grant.at <= it.at <= call.ended for it in history.ended
    )
    unsure = {"clock step", "password rotated", *FROZEN}
    return not ended and not met(history, unsure, call.places, grant.at, call.ended)


def _irreplaceable(history: History, call: Call) -> bool:
    """Whether the caller had to get this 401: no new token was possible, or one had just come."""
    if stopped(history, call) or _both_ended(history, call):
        return True
    refused = call.requests[0]
    worker = call.process.partition(".")[0]
    for other in history.calls:
        if other is call or other.process.partition(".")[0] != worker:
            continue
        for sent in other.requests:
            recent = (
                refused.answered - REPLACEMENT_PERIOD - SLACK <= sent.answered < refused.answered
            )
            # another thread that met the same token replaces it for this one too
            if (
                sent.status == 401
                and recent
                and (sent.token != refused.token or other.status == 401)
            ):
                return True
    return False


def _both_ended(history: History, call: Call) -> bool:
    """Whether the server had ended the token of the replay too; a request is replayed only once."""
    tokens = [each.token for each in call.requests]
    second = call.requests[-1]
    if len(tokens) == 1 or tokens[-2] == second.token:
        return False
    granted = history.grants[second.token].at
    return any(
        it.identity == call.identity and granted <= it.at <= second.answered for it in history.ended
    )


def _long_waits(history: History) -> Iterator[Finding]:
    """Calls that waited for a token longer than they said, before a request or after a 401."""
    for call in history.calls:
        moments = [
            call.began,
            *(m for it in call.requests for m in (it.at, it.answered)),
            call.ended,
        ]
        waited = max(b - a for a, b in zip(moments[::2], moments[1::2], strict=True))
        if waited <= call.timeout + SLACK:
            continue
        if not met(history, FROZEN, (call.process, ALL), call.began, call.ended):
            text = f"{call.process} waited {waited:.2f} s, its timeout is {call.timeout:g} s"
            yield Finding(5, text, (call,))


# -- 6: all is well again --------------------------------------------------------------------------


def recovery(history: History) -> Iterator[Finding]:
    """Workers that do not work at the end."""
    since = history.setting.quiet_since + LONGEST_WAIT + RECOVERY
    late = [it for it in history.calls if it.began >= since]
    for call in late:
        stranger = call.identity in history.setting.strangers
        if call.status != 200 and not stranger:
            what = call.error or call.foreign or call.status
            text = f"{call.process}: {what} after all faults had ended"
            yield Finding(6, text, (call,))
    for slot in history.setting.slots:
        if not any(call.process.startswith(f"{slot}.") for call in late):
            yield Finding(6, f"{slot} made no call after all faults had ended", ())


def exits(history: History) -> Iterator[Finding]:
    """Workers that crashed, or whose calls never ended."""
    for exited in history.exits:
        if exited.code is None:
            yield Finding(5, f"{exited.process} did not end when told: a call hangs", (exited,))
        crashed = exited.code not in {None, 0, -signal.SIGKILL, -signal.SIGTERM}
        if crashed and not met(history, STRANGE, exited.places, exited.at - LATE, exited.at):
            yield Finding(6, f"{exited.process} ended with status {exited.code}", (exited,))


# -- 7: no secret is seen --------------------------------------------------------------------------


def seen_secrets(history: History) -> Iterator[Finding]:
    """Outputs, names and command lines that hold a secret."""
    for leak in history.leaks:
        yield Finding(7, f"a secret appears in {leak.where}", (leak,))


RULES: tuple[Callable[[History], Iterator[Finding]], ...] = (
    dead_tokens,
    surplus_grants,
    lost_logins,
    crossed_tokens,
    failed_calls,
    recovery,
    exits,
    seen_secrets,
)
