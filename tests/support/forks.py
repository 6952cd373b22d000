"""Calls in a forked child, which never goes on as one more pytest."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

CHILD_BOUND = 10.0
"""Seconds after which a child counts as hung."""

LONGEST_LIFE = 120
"""Seconds after which a child ends whose parent was ended before it."""


def forked(call: Callable[[], object]) -> int:
    """The process id of a child that makes the call and ends, whatever comes of it."""
    child = os.fork()
    if child == 0:
        _end_with(call)
    return child


def in_child(call: Callable[[], object], *, within: float = CHILD_BOUND) -> object:
    """What `call` returns in a forked child, or how its error looks, as JSON can tell it.

    A child that hangs is killed after `within` seconds, and is an error.
    """
    reader, writer = os.pipe()

    def tell() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  it is the result
            result = repr(error)
        os.write(writer, json.dumps(result).encode())

    child = forked(tell)
    os.close(writer)
    killer = threading.Timer(within, os.kill, (child, signal.SIGKILL))
    killer.start()
    with os.fdopen(reader, "rb") as answer:
        text = answer.read()
    killer.cancel()
    os.waitpid(child, 0)
    assert text, "the child hung"
    return json.loads(text)


def _end_with(call: Callable[[], object]) -> NoReturn:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST_LIFE)
        call()
    finally:
        # else it would run the tests that are left, and report them twice
        os._exit(0)
