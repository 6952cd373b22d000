"""The processes that are measured from outside: `python -m benchmarks.child JOB PEER SITE …`.

Only what each of them needs is imported: the time until a first header is one of the figures.
"""

from __future__ import annotations

import json
import os
import sys
import time

import requests

from benchmarks.peers.peer import API_URL, HEADER, Site
from benchmarks.peers.registry import load

ROOM = 100_000
"""Strings: of a table of 262,144 places, two thirds of which are used before it grows again."""


def first_header(peer: str, site: Site) -> None:
    """Print when the first request was signed (monotonic seconds)."""
    request = requests.Request("GET", API_URL).prepare()
    load(peer).open(site)(request)
    print(time.monotonic() if request.headers[HEADER] else "no header", flush=True)


def fleet(peer: str, site: Site, size: int, seconds: float) -> None:
    """Fork `size` workers that start together and sign for `seconds`; print the failed calls."""
    library = load(peer)  # imported once, opened in each worker
    start = time.monotonic() + 0.2 + 0.01 * size
    reader, writer = os.pipe()
    for _ in range(size):
        if os.fork() == 0:
            os.close(reader)
            failed = _work(library.open(site), start, seconds)
            os.write(writer, b"x" * failed)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        failed = len(pipe.read())
    for _ in range(size):
        os.wait()
    print(failed, flush=True)


def _work(auth: Auth, start: float, seconds: float) -> int:
    from benchmarks.calls import paced, signed  # noqa: PLC0415  the other jobs are to load nothing more

    time.sleep(max(0.0, start - time.monotonic()))
    first = signed(auth)
    # from here: a busy machine takes a while until all have begun
    return first.failed + sum(c.failed for c in paced(auth, 0.05, first.moment + seconds))


def weight(peer: str, site: Site, identities: int) -> None:
    """Print the bytes per identity: of what was opened, and of what has signed once as well."""
    import gc  # noqa: PLC0415  likewise
    import tracemalloc  # noqa: PLC0415

    library = load(peer)
    request = requests.Request("GET", API_URL).prepare()
    warm = [library.open(site._replace(username=f"warm{n}")) for n in range(3)]
    for auth in warm:
        auth(request.copy())
    sites = [site._replace(username=f"user{n}") for n in range(identities)]
    # The interpreter's table of strings grows by a megabyte at a time, whoever's string is the
    # first that finds it full. While these are kept it has room.
    kept = [sys.intern(f"kept{n}") for n in range(ROOM)]
    gc.collect()
    tracemalloc.start()
    opened = [library.open(each) for each in sites]
    gc.collect()
    made = tracemalloc.get_traced_memory()[0]
    for auth in opened:
        auth(request.copy())
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    assert len(kept) == ROOM
    print(json.dumps([made / identities, used / identities]), flush=True)


TYPE_CHECKING = False  # as typing has it, which takes a while to load
if TYPE_CHECKING:
    from benchmarks.peers.peer import Auth


def main() -> None:
    """Do the job that the arguments name."""
    job, peer, site, *numbers = sys.argv[1:]
    place = Site(**json.loads(site))
    if job == "first_header":
        first_header(peer, place)
    elif job == "fleet":
        fleet(peer, place, int(numbers[0]), float(numbers[1]))
    elif job == "weight":
        weight(peer, place, int(numbers[0]))
    else:
        from benchmarks import many  # noqa: PLC0415  likewise

        {"signing": many.signing, "kept": many.kept}[job](
            peer, place, int(numbers[0]), float(numbers[1])
        )


if __name__ == "__main__":
    main()
