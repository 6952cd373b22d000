"""A process that calls a token endpoint and reports the memory that each answer took.

Reads JSON `{"url": …, "count": n}` from its arguments. Prints, for each request, the peak of
additional traced memory, and at the end by how much the process grew.
"""

from __future__ import annotations

import json
import resource
import sys
import tracemalloc

from evertoken import PasswordGrant, TokenError

CREDENTIALS = {"client_id": "client", "username": "user", "password": "password"}


def cost_of(grant: PasswordGrant) -> dict[str, object]:
    """The outcome of one request, and its peak in bytes."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        outcome = f"a token of {len(grant.request().value)} characters"
    except TokenError as error:
        outcome = f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "peak": tracemalloc.get_traced_memory()[1] - before}


def main(url: str, count: str) -> None:
    grant = PasswordGrant(url, **CREDENTIALS, timeout=10, deadline=10)  # type: ignore[arg-type]  # texts
    cost_of(grant)  # triggers the lazy imports
    tracemalloc.start()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    costs = [cost_of(grant) for _ in range(int(count))]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown
    print(json.dumps({"costs": costs, "grown": grown * 1024}))  # noqa: T201  its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
