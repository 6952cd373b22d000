"""Isolated sub-interpreters (Python 3.14) that send requests, each in a thread of its own.

`python -m support.sub_interpreters COUNT SETTINGS API KEEP_FRESH`, with `Settings` as JSON and 0 or
1; prints the results of each of them as one JSON list.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import TypedDict

import requests

from evertoken import BearerAuth, TokenManager
from support.fleet_worker import Settings

WORK = "from support.sub_interpreters import seen_by; seen.put(seen_by(settings, api, keep_fresh))"


class Seen(TypedDict):
    """The results of one interpreter.

    Attributes:
        failures: the exceptions raised instead of an answer.
        statuses: of the answers.
        longest: the seconds of the longest call.
    """

    calls: int
    failures: list[str]
    statuses: list[int]
    longest: float


def seen_by(settings: str, api: str, keep_fresh: str) -> str:
    """Send requests for a while, and return the results as JSON."""
    given = Settings(**json.loads(settings))
    kept = given.manager(0)
    manager = TokenManager(
        kept.grant, store=kept.store, keep_fresh=keep_fresh == "1", timeout=given.timeout
    )
    session = requests.Session()
    session.auth = BearerAuth(manager, origins=[api])
    seen = Seen(calls=0, failures=[], statuses=[], longest=0.0)
    end = time.monotonic() + given.seconds
    while (began := time.monotonic()) < end:
        try:
            seen["statuses"].append(session.get(api, timeout=given.timeout).status_code)
        except Exception as error:  # noqa: BLE001  it is the result
            seen["failures"].append(f"{type(error).__name__}: {error}")
        seen["calls"] += 1
        seen["longest"] = max(seen["longest"], time.monotonic() - began)
        time.sleep(0.02)
    manager.close()
    return json.dumps(seen)


def main(count: int, settings: str, api: str, keep_fresh: str) -> None:
    """Run `COUNT` interpreters at once."""
    # a type checker for Python 3.11 does not know this module
    interpreters = importlib.import_module("concurrent.interpreters")
    seen = interpreters.create_queue()
    made = [interpreters.create() for _ in range(count)]
    for each in made:
        each.prepare_main(settings=settings, api=api, keep_fresh=keep_fresh, seen=seen)
    threads = [each.call_in_thread(exec, WORK) for each in made]
    for thread in threads:
        thread.join()
    # read before they are closed, which drops their results
    sys.stdout.write(f"[{', '.join(seen.get_nowait() for _ in made)}]\n")
    for each in made:
        each.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
