"""Detects whether a test library mocks HTTP, so that no request reaches a server."""

from __future__ import annotations

import sys
from operator import attrgetter

_LIBRARIES = frozenset({"pook", "requests_mock", "responses", "vcr"})

_PLACES = (
    ("requests.sessions", attrgetter("Session.send")),
    ("requests.adapters", attrgetter("HTTPAdapter.send")),
    ("urllib3.connectionpool", attrgetter("HTTPConnectionPool.urlopen")),
    ("urllib3.connectionpool", attrgetter("HTTPConnectionPool.ConnectionCls")),
)
"""The attributes that these libraries replace."""


def are_in_place() -> bool:
    """Whether a known library mocks HTTP at this moment.

    Requests are then sent in the caller's thread. A pool thread might send one after the mock has
    been removed; with requests-mock it would also wait for a lock that the caller holds.
    """
    if not any(name in sys.modules for name in _LIBRARIES):
        return False
    return any(
        module in sys.modules and _is_of_a_mock(find(sys.modules[module]))
        for module, find in _PLACES
    )


def _is_of_a_mock(replaceable: object) -> bool:
    home = getattr(replaceable, "__module__", None) or ""
    return home.partition(".")[0] in _LIBRARIES
