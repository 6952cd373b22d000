"""A worker under uWSGI: the manager is made before the fork, and each request makes a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.chaos.diary import Diary
from benchmarks.chaos.job import enter, manager_of
from benchmarks.chaos.worker import API_TIMEOUT, session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_job = enter()
_diary, _session = Diary(_job), session_of(_job, manager_of(_job))


def application(_environ: object, start_response: Callable[..., object]) -> Iterable[bytes]:
    """Call the API, and write it down."""
    with _diary.call():
        _session.get(_job.api_url, timeout=API_TIMEOUT)
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
