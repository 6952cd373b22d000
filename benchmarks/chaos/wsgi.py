"""A worker under uWSGI: the manager is made before the fork, and each request makes a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.chaos.worker import Diary, begun, manager_of, session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_job = begun()
_diary, _session = Diary(_job), session_of(_job, manager_of(_job))


def application(_environ: object, start_response: Callable[..., object]) -> Iterable[bytes]:
    """Call the API, and write it down."""
    with _diary.call():
        _session.get(_job.api_url, timeout=5.0)
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
