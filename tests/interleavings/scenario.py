"""The scenarios: the actors, their initial state, and the cost of each fault."""

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
    """A fault at one step of one process; the value is its letter in a schedule."""

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
    Fault.AWAY: 1,  # without the store the process sends its own request
    Fault.BACK: 1,  # the token appears to come from the future
    Fault.AHEAD: 1,  # the token appears to have expired
    Fault.PAUSE: 1,  # the others go on without the lock of the frozen process
    Fault.FORK: 0,
    Fault.REVOKE: 1,  # the token is dead
    Fault.REJECT: 1,  # the token is dead
    Fault.ROTATE: 1,  # a process with the new password does not get the token of the old one
    Fault.UNREADABLE: 0,  # nothing is sent
    Fault.PASSING: 0,  # nothing was granted
    Fault.RENAME: 1,  # the other user has no token yet
}
"""The grants that a fault may cost, with the reason.

A step of the clock may cost one more for each renewal in flight on the machine: it keeps counting
from its caller's reading, so the tokens of others appear to be from another time. It may also cost
one for each further identity there.
"""


@dataclass(frozen=True)
class Scenario:
    """The actors and their initial state.

    Attributes:
        machines: the machine of each process.
        shared: "file" (one per machine) or "redis" (one for all).
        passwords: the password of each process.
        age: of the token that all hold at first, in seconds; None: they have none.
        exclusive: whether the grant has a rotating refresh token.
        calls: the number of calls of each process.
        grants: the number of grants without a fault.
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
    """The policy for an API that accepts a new token only after `activation` seconds."""
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
