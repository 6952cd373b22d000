"""Whether threads can run in this process, and how to start one."""

from __future__ import annotations

import _thread
import functools
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def can_run() -> bool:
    """Whether a daemon thread started now would run.

    An isolated sub-interpreter refuses daemon threads, and an interpreter that is shutting down
    starts none. Under uWSGI without threads, a thread does not run between requests. uWSGI's master
    forks without Python's hooks: if one of its threads waited for the interpreter's lock at that
    moment, the worker would inherit a lock that nobody releases.
    """
    allowed: Callable[[], bool] | None = getattr(_thread, "daemon_threads_allowed", None)
    if sys.is_finalizing() or (allowed is not None and not allowed()):
        return False
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is None or (_has_threads(uwsgi) and _is_worker(uwsgi))


def start(call: Callable[[], None], name: str, *, otherwise: Callable[[], None]) -> None:
    """Call `call` in a daemon thread. If none can start, call `otherwise` in some thread."""
    if not can_run():
        otherwise()
        return
    begin = functools.partial(_begin, call, name, otherwise)
    if threading.get_ident() != threading.main_thread().ident:
        begin()
        return
    # `Thread.start` waits in Python code. Signal handlers run in the main thread: an exception from
    # one would leave the new thread's lock taken forever.
    try:
        _thread.start_new_thread(begin, ())
    except RuntimeError:
        otherwise()


def _begin(call: Callable[[], None], name: str, otherwise: Callable[[], None]) -> None:
    try:
        threading.Thread(target=call, name=name, daemon=True).start()
    except RuntimeError:
        otherwise()


def _has_threads(uwsgi: object) -> bool:
    return bool(getattr(uwsgi, "has_threads", True))


def _is_worker(uwsgi: object) -> bool:
    number: Callable[[], int] | None = getattr(uwsgi, "worker_id", None)
    return number is None or number() != 0
