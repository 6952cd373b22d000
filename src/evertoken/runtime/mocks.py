"""Whether a library for tests stands in the place of HTTP, so that no request reaches a server."""

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
"""What these libraries replace."""


def are_in_place() -> bool:
    """Whether one of the known libraries answers in place of servers at this moment.

    What is sent then, the caller sends: a thread of ours might do so only when the mock has gone,
    and of requests-mock it would wait for a lock that the caller holds, in whose call it all is.
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
