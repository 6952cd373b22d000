"""Time per request with a fresh token: `BearerAuth` beside a static header.

`python -m benchmarks.hot_path` prints nanoseconds per call and the ratio. The two are timed in
turn over many short rounds, net of the loop around them; the 10th percentile is taken, since
medians move with the load of the machine. The static header is also timed against itself: what that
ratio is off 1 is the precision of the others.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from typing import TYPE_CHECKING

import requests
from requests.auth import AuthBase

from evertoken import BearerAuth, MemoryStore, Token, TokenKey, TokenManager

if TYPE_CHECKING:
    from requests import PreparedRequest

URL = "https://api.example.com/api/v4/leads/responses/7/"
ROUNDS = 400
CALLS = 1000


class StaticHeader(AuthBase):
    """The floor: one header that never changes."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set it."""
        request.headers["Authorization"] = "Bearer static"
        return request


class FixedGrant:
    """A grant that answers at once, so that no endpoint is needed."""

    token_url = "https://api.example.com/oauth/token/"  # noqa: S105  a URL
    key = TokenKey(token_url, "client", "user")

    def request(self) -> Token:
        """A token of ten hours."""
        now = time.time()
        return Token("a" * 30, now, now + 36000)

    def revoke(self, token: Token) -> None:
        """Nothing to revoke."""

    def credentials_tag(self, salt: bytes) -> bytes:
        """Never refused."""
        return salt


def prepared() -> PreparedRequest:
    """A request as `requests` hands it to `auth`."""
    return requests.Request("GET", URL).prepare()


def round_of(auth: AuthBase) -> float:
    """Nanoseconds per call over one short round, on requests prepared before."""
    batch = [prepared() for _ in range(CALLS)]
    start = time.perf_counter_ns()
    for _ in batch:
        pass
    looped = time.perf_counter_ns()
    for request in batch:
        auth(request)
    return (time.perf_counter_ns() - looped - (looped - start)) / CALLS


def measure(rounds: int) -> dict[str, float]:
    """Nanoseconds per call of each."""
    manager = TokenManager(FixedGrant(), memory=MemoryStore())
    manager.token()
    subjects: dict[str, AuthBase] = {
        "static header": StaticHeader(),
        "static header again": StaticHeader(),
        "evertoken": BearerAuth(manager),
    }
    times: dict[str, list[float]] = {name: [] for name in subjects}
    order = list(subjects)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            times[name].append(round_of(subjects[name]))
    return {name: statistics.quantiles(times[name], n=10)[0] for name in subjects}


def main() -> None:
    """Print the table."""
    figures = measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
    floor = figures["static header"]
    print(f"{'':22}{'ns per call':>12}{'ratio':>8}")
    for name in sorted(figures, key=figures.__getitem__):
        print(f"{name:22}{figures[name]:12.0f}{figures[name] / floor:8.2f}")


if __name__ == "__main__":
    main()
