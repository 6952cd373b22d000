"""Calls in a forked child, which never continues as a second pytest."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

CHILD_BOUND = 10.0
"""Seconds after which a child is assumed to hang."""

LONGEST_LIFE = 120
"""Seconds after which a child ends if its parent has ended."""


def forked(call: Callable[[], object]) -> int:
    """Fork a child that makes the call and ends, whatever happens; returns its process id."""
    child = os.fork()
    if child == 0:
        _end_with(call)
    return child


def in_child(call: Callable[[], object], *, within: float = CHILD_BOUND) -> object:
    """The result of `call` in a forked child, or its error as text; both must fit into JSON.

    A child that hangs is killed after `within` seconds, which raises.
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
        # otherwise it would run the remaining tests, and report them twice
        os._exit(0)
