"""A WSGI app whose manager is made before gunicorn forks; it answers with what it has."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from evertoken import squadrun

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

manager = squadrun.manager(keep_fresh=True)
made_in = os.getpid()
manager.token()


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Which process answers, and with which token.

    With `/idle` no token is asked for: what is seen is the work of the keeper alone.
    """
    if environ["PATH_INFO"] != "/idle":
        manager.token()
    status = manager.status()
    report = {
        "pid": os.getpid(),
        "made_in": made_in,
        "state": status.state,
        "issued_at": status.issued_at,
        "grants": status.counters.grants,
        "adoptions": status.counters.adoptions,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(report).encode()]
