"""A WSGI application whose manager is made at import, for hosts with pre-forked workers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from support.host_call import imported

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

made_in = os.getpid()
caller = imported()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Call the API; `/idle` only reports the current token, without asking for one."""
    if environ["PATH_INFO"] != "/idle":
        caller.call()
    status = caller.manager.status()
    answer = {"pid": os.getpid(), "made_in": made_in, "issued_at": status.issued_at}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
