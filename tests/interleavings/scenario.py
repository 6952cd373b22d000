"""What is explored: who takes part, what they hold at first, and what each fault may cost."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass

from evertoken.core.policy import RefreshPolicy
from evertoken.core.token import TokenKey

POLICY = RefreshPolicy()
PAUSE_BETWEEN_CALLS = 3.0
START = 1_700_000_000.0
LIFETIME = 300.0
LATENCY = 0.25
LEASE = 35.0
LOCK_TIMEOUT = 15.0
DEADLINE = 32.0
JUMP = 3600.0
PAUSE = 100.0
RIGHT, ROTATED, WRONG = "right", "rotated", "wrong"
ALICE, BOB = "alice", "bob"


@functools.cache
def key_of(username: str) -> TokenKey:
    """The identity of this user."""
    return TokenKey("https://tokens.example/", "client", username)


KEY = key_of(ALICE)


class Fault(enum.Enum):
    """What goes wrong at one step of one process; the value is its letter in a script."""

    CRASH = "c"
    LOST = "l"
    AWAY = "a"
    BACK = "b"
    AHEAD = "h"
    PAUSE = "p"
    FORK = "f"
    REVOKE = "r"
    REJECT = "x"
    ROTATE = "o"
    UNREADABLE = "u"
    """From now on the process cannot read its credentials."""
    PASSING = "t"
    """The endpoint answers 404 once, which judges no credentials."""
    RENAME = "n"
    """From now on the process reads the name of another user."""


EXTRA_GRANTS = {
    Fault.CRASH: 1,  # killed between the answer and the save
    Fault.LOST: 1,  # the token was in the answer
    Fault.AWAY: 1,  # without the store the process asks for itself
    Fault.BACK: 1,  # the token seems to come from the future
    Fault.AHEAD: 1,  # the token seems to have expired
    Fault.PAUSE: 1,  # the others go on without the lock of the frozen one
    Fault.FORK: 0,
    Fault.REVOKE: 1,  # the token is dead
    Fault.REJECT: 1,  # the token is dead
    Fault.ROTATE: 1,  # a token of the old password is not handed to a process with the new one
    Fault.UNREADABLE: 0,  # nothing is sent
    Fault.PASSING: 0,  # nothing was granted
    Fault.RENAME: 1,  # the other user has no token yet
}
"""How many grants a fault may cost, with the reason.

A step of the clock may cost one more for each renewal that is under way on the machine: it goes on
by the reading that its caller began with, and by that the tokens of others are from another time.
And it may cost one for each further identity there.
"""


@dataclass(frozen=True)
class Scenario:
    """Who takes part.

    Attributes:
        machines: the machine of each process.
        shared: "file" (one per machine) or "redis" (one for all).
        passwords: what each process has.
        age: of the token that all hold at first, in seconds; None: there is none.
        exclusive: whether the grant has a rotating refresh token.
        calls: how many calls each process makes.
        grants: how many grants this takes if nothing goes wrong.
        skew: seconds by which the clock of the second machine is ahead.
        activation: seconds after its request from which the API accepts a new token. The policy's
            delay is as long, and a thread waits between its calls.
    """

    name: str
    machines: tuple[int, ...] = (0, 0)
    shared: str = "file"
    passwords: tuple[str, ...] = (RIGHT, RIGHT, RIGHT)
    age: float | None = None
    exclusive: bool = False
    calls: int = 1
    grants: int = 1
    skew: float = 0.0
    activation: float = 0.0

    @property
    def policy(self) -> RefreshPolicy:
        """The rules of all managers."""
        return policy_of(self.activation)


@functools.cache
def policy_of(activation: float) -> RefreshPolicy:
    """The rules where a new token takes so many seconds to be accepted."""
    return RefreshPolicy(activation_delay=activation) if activation else POLICY


SCENARIOS = {
    each.name: each
    for each in (
        Scenario("cold-file"),
        Scenario("cold-redis", (0, 1), "redis"),
        Scenario("twice-file", calls=2),
        Scenario("stale-file", age=LIFETIME - 60),
        Scenario("stale-redis", (0, 1), "redis", age=LIFETIME - 60),
        Scenario("skewed-redis", (0, 1), "redis", age=LIFETIME - 60, skew=3600.0),
        Scenario("decades-redis", (0, 1), "redis", skew=2.0e9),
        Scenario("expired-file", age=LIFETIME),
        Scenario("exclusive-file", exclusive=True),
        Scenario("exclusive-redis", (0, 1), "redis", exclusive=True),
        Scenario("refused-file", passwords=(WRONG, WRONG), calls=2, grants=0),
        Scenario("mixed-file", passwords=(WRONG, RIGHT)),
        Scenario("three-file", (0, 0, 0)),
        Scenario("three-redis", (0, 1, 1), "redis", age=LIFETIME - 60),
        Scenario("three-exclusive", (0, 1, 1), "redis", exclusive=True),
        Scenario("activation-file", age=LIFETIME - 60, calls=3, activation=5.0),
        Scenario("activation-redis", (0, 1), "redis", age=LIFETIME - 60, calls=3, activation=5.0),
    )
}
