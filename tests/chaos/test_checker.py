"""The checker of histories finds each kind of violation, and nothing in a history without one.

Every forged history is a sound one with a single event added or changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from benchmarks.chaos.checker import check
from benchmarks.chaos.history import (
    Call,
    Event,
    Exited,
    Fault,
    History,
    Leak,
    Login,
    Post,
    Sent,
    Setting,
    TokensEnded,
    read,
    write,
)
from benchmarks.chaos.segment import leaks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIFETIME = 12.0

SETTING = Setting(
    places={
        "shared": ("shared", "machine A", "disk A"),
        "login": ("login", "machine A", "disk A"),
        "stranger": ("stranger", "machine A", "disk A"),
    },
    lifetime=LIFETIME,
    grace=0.0,
    exclusive=frozenset({"login"}),
    strangers=frozenset({"stranger"}),
    cooldown=15.0,
    quiet_since=24.0,
    slots=("worker",),
)


def grant(at: float, token: str, identity: str = "shared", **more: str) -> Post:
    ends = at + LIFETIME
    return Post(identity=identity, at=at, outcome="granted", token=token, ends=ends, **more)


def call(at: float, token: str = "", status: int = 200, identity: str = "shared") -> Call:
    """A call that took 10 ms; without a token it failed."""
    return Call(
        process="worker.1",
        identity=identity,
        places=("worker.1", identity, "machine A", "disk A"),
        began=at,
        ended=at + 0.01,
        timeout=8.0,
        requests=(Sent(at, token, status, at + 0.01),) if token else (),
        error="" if token else "GrantUnavailable",
    )


def exited(code: int | None) -> Exited:
    return Exited(process="worker.1", places=("worker.1", "shared"), at=50.0, code=code)


def fault(kind: str, began: float, ended: float, *places: str) -> Fault:
    return Fault(kind=kind, places=places or ("shared", "login"), began=began, ended=ended)


REFUSED = Post(identity="stranger", at=1.0, outcome="invalid_grant", credential="wrong")

SOUND: tuple[Event, ...] = (
    *(grant(9.5 * n, f"t{n}") for n in range(8)),
    *(call(9.5 * n + 1, f"t{n}") for n in range(8)),
    grant(0.0, "l0", "login", credential="r0", successor="r1"),
    grant(9.5, "l1", "login", credential="r1", successor="r2"),
    call(1.0, "l0", identity="login"),
    call(2.0, identity="stranger"),
    REFUSED,
)


def found(*more: Event, without: tuple[Event, ...] = ()) -> list[int]:
    """The rules that a history breaks: the sound one, with more events and without some."""
    events = [event for event in SOUND if event not in without]
    return [each.rule for each in check(History.of(SETTING, [*events, *more]))]


def test_a_sound_history_has_no_finding() -> None:
    assert found() == []


FORGED: dict[str, tuple[int, Callable[[], list[int]]]] = {
    "a token is sent after its end": (1, lambda: found(call(13.0, "t0"))),
    "a rejected token is sent again after a newer one": (
        1,
        lambda: found(fault("one 4xx", 2, 20), call(10.0, "t0", status=401), call(11.8, "t0")),
    ),
    "two grants in one lifetime": (2, lambda: found(grant(1.2, "extra"))),
    "a fault pays for one grant and not for two": (
        2,
        lambda: found(fault("token revoked", 1, 1), grant(1.1, "x"), grant(1.2, "y")),
    ),
    "a refresh token is posted twice": (
        3,
        lambda: found(Post(identity="login", at=30.0, outcome="invalid_grant", credential="r1")),
    ),
    "a login is lost": (3, lambda: found(Login(identity="login", at=31.0, lost=30.0))),
    "a token reaches another identity": (
        4,
        lambda: found(call(2.0, "t0", identity="login")),
    ),
    "a wrong password gets a token": (4, lambda: found(call(2.0, "t0", identity="stranger"))),
    "a wrong password is posted again in its cool-down": (
        4,
        lambda: found(replace(REFUSED, at=5.0)),
    ),
    "a call fails although its token is usable": (
        5,
        lambda: found(fault("endpoint down", 1, 9), call(5.0)),
    ),
    "a call fails although the endpoint is well": (
        5,
        lambda: found(call(1.5), without=(call(1.0, "t0"), call(1.0, "l0", identity="login"))),
    ),
    "a 401 is handed to the caller": (5, lambda: found(call(5.0, "t0", status=401))),
    "a call waits beyond its timeout": (
        5,
        lambda: found(replace(call(30.0, "t2"), began=20.0, ended=30.0)),
    ),
    "a worker still fails after all has ended": (
        6,
        lambda: found(fault("endpoint down", 57, 58), call(67.8), without=(call(67.5, "t7"),)),
    ),
    "a worker is dead after all has ended": (6, lambda: found(without=(call(67.5, "t7"),))),
    "a worker crashes": (6, lambda: found(exited(1))),
    "a call never ends": (5, lambda: found(exited(None))),
    "a secret is in a log": (7, lambda: found(Leak(where="worker.log"))),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_history_has_its_finding(what: str) -> None:
    rule, forged = FORGED[what]
    assert rule in forged()


EXCUSED: dict[str, Callable[[], list[int]]] = {
    "a token sent late by a frozen process": lambda: found(
        fault("freeze", 9.0, 14.0, "worker.1"), replace(call(13.0, "t0"), began=8.9)
    ),
    "a grant after a clock step": lambda: found(fault("clock step", 1, 1), grant(1.2, "x")),
    "a grant for each process on a full disk": lambda: found(
        fault("disk full", 2, 5, "disk A"), grant(3.0, "x"), grant(4.0, "y")
    ),
    "a login lost in a kill": lambda: found(
        fault("kill", 29.0, 29.0), Login(identity="login", at=31.0, lost=30.0)
    ),
    "a password posted again by a process without its disk": lambda: found(
        fault("disk full", 2, 4, "disk A"), replace(REFUSED, at=3.0)
    ),
    "a call without a token while the endpoint is down": lambda: found(
        fault("endpoint down", 11.0, 16.0), call(15.0), without=(call(10.5, "t1"),)
    ),
    "a 401 for a replay with another token that had been ended": lambda: found(
        TokensEnded(identity="shared", at=20.0),
        replace(
            call(20.1, "t1"), requests=(Sent(20.1, "t1", 401, 20.2), Sent(20.3, "t2", 401, 20.4))
        ),
    ),
    "a 401 within a minute of another": lambda: found(
        TokensEnded(identity="shared", at=20.0),
        replace(
            call(21.0, "t2"), requests=(Sent(21.0, "t1", 401, 21.1), Sent(21.2, "t2", 200, 21.3))
        ),
        call(22.0, "t2", status=401),
    ),
}


@pytest.mark.parametrize("what", EXCUSED)
def test_the_checker_accepts_what_a_fault_may_cause(what: str) -> None:
    assert EXCUSED[what]() == []


def test_a_history_is_read_as_it_was_written_but_for_a_line_that_a_kill_cut_off(
    tmp_path: Path,
) -> None:
    events = [*SOUND, fault("kill", 1.0, 1.0), TokensEnded(identity="shared", at=2.0)]
    with (tmp_path / "worker.jsonl").open("w", encoding="utf-8") as file:
        for event in events:
            write(file, event)
        file.write('{"event": "Ca')
    assert read(tmp_path) == events


@pytest.mark.parametrize("where", ["in a line", "in a name"])
def test_a_secret_in_an_output_is_a_leak(tmp_path: Path, where: str) -> None:
    token, password = "aB3" * 10, "a password"
    (tmp_path / "clean.log").write_text("token=aB3aB3 password=***")
    assert list(leaks(tmp_path, {token, password})) == []
    for number, secret in enumerate((token, password)):
        name = f"{secret}.log" if where == "in a name" else f"{number}.log"
        (tmp_path / name).write_text("" if where == "in a name" else f"a line with '{secret}'\n")
    assert len(list(leaks(tmp_path, {token, password}))) == 2
