"""Whether a request goes through a proxy; of the environment's, told at little cost."""

from __future__ import annotations

import os
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

if TYPE_CHECKING:
    from collections.abc import Mapping

# macOS and Windows have settings of the system besides, which only a full look-up finds
_VARIABLES_DECIDE = urllib.request.getproxies is urllib.request.getproxies_environment

_OTHERS = frozenset({b"no_proxy", b"https_proxy"})


class _Scan:
    """The last look at the names of all variables.

    Attributes:
        size: how many there were, if none of them names a proxy for `http://`.
    """

    size = -1


def in_environment(url: str) -> bool:
    """Whether `requests` would send the `http://` URL through a proxy of the environment.

    `NO_PROXY` is honoured.
    """
    return are_possible() and chosen(url, get_environ_proxies(url, no_proxy=None))


def chosen(url: str, given: Mapping[str, str]) -> bool:
    """Whether `requests` sends `url` through one of the proxies `given`."""
    return bool(select_proxy(url, dict(given)))


def exclusion_of(url: str) -> str:
    """The variable that has loopback, and the host of `url`, asked without a proxy."""
    host = urlsplit(url).hostname or ""
    return "NO_PROXY=" + ",".join(dict.fromkeys(("127.0.0.1", "localhost", host)))


def are_possible() -> bool:
    """Whether the environment may name a proxy for `http://` URLs; told in 0.1 microseconds."""
    if not _VARIABLES_DECIDE:
        return True
    try:
        # reading a variable by the public way decodes and encodes: ten times the time
        variables = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001  as said
    except AttributeError:
        # something else was put in its place
        return True
    # one by one: a set would have all variables hashed again
    if (
        b"http_proxy" in variables
        or b"HTTP_PROXY" in variables
        or b"Http_Proxy" in variables
        or b"all_proxy" in variables
        or b"ALL_PROXY" in variables
        or b"All_Proxy" in variables
    ):
        return True
    # any other case counts too, which nobody writes: looked for if the number of variables changed
    return len(variables) != _Scan.size and _named_otherwise([*variables])


def _named_otherwise(names: list[bytes]) -> bool:
    lowered = {name.lower() for name in names}
    if any(name.endswith(b"_proxy") for name in lowered - _OTHERS):
        return True
    _Scan.size = len(names)
    return False
