"""Whether a request goes through a proxy. Cheap for proxies of the environment."""

from __future__ import annotations

import os
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

if TYPE_CHECKING:
    from collections.abc import Mapping

# macOS and Windows also have system settings, which only a full lookup finds
_VARIABLES_DECIDE = urllib.request.getproxies is urllib.request.getproxies_environment

_OTHERS = frozenset({b"no_proxy", b"https_proxy"})


class _Scan:
    """The result of the last scan of the names of all variables.

    Attributes:
        size: the number of variables, if none of them names a proxy for `http://`.
    """

    size = -1


def in_environment(url: str) -> bool:
    """Whether `requests` would send the `http://` URL through a proxy of the environment.

    Respects `NO_PROXY`.
    """
    return are_possible() and chosen(url, get_environ_proxies(url, no_proxy=None))


def in_environment_by_text(url: str) -> bool:
    """The same for a client that compares a host with `NO_PROXY` as text, as httpx does.

    To `requests`, but not to httpx, `127.0.0.0/8` excludes `127.0.0.1`.
    """
    if not are_possible():
        return False
    found = urllib.request.getproxies()
    host = urlsplit(url).hostname or ""
    excluded = [name.strip().lower() for name in found.get("no", "").split(",")]
    return bool(found.get("http") or found.get("all")) and not {"*", host} & set(excluded)


def chosen(url: str, given: Mapping[str, str]) -> bool:
    """Whether `requests` sends `url` through one of the `given` proxies."""
    return bool(select_proxy(url, dict(given)))


def exclusion_of(url: str) -> str:
    """The variable setting that excludes loopback and the host of `url` from proxies."""
    host = urlsplit(url).hostname or ""
    return "NO_PROXY=" + ",".join(dict.fromkeys(("127.0.0.1", "localhost", host)))


def are_possible() -> bool:
    """Whether the environment may name a proxy for `http://` URLs. Takes 0.1 microseconds."""
    if not _VARIABLES_DECIDE:
        return True
    try:
        # the public interface decodes and encodes, which takes ten times as long
        variables = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001  see above
    except AttributeError:
        # os.environ was replaced
        return True
    # one by one: a set operation would hash all variables again
    if (
        b"http_proxy" in variables
        or b"HTTP_PROXY" in variables
        or b"Http_Proxy" in variables
        or b"all_proxy" in variables
        or b"ALL_PROXY" in variables
        or b"All_Proxy" in variables
    ):
        return True
    # Other spellings count too, but are rare: scanned only if the number of variables changed.
    return len(variables) != _Scan.size and _named_otherwise([*variables])


def _named_otherwise(names: list[bytes]) -> bool:
    lowered = {name.lower() for name in names}
    if any(name.endswith(b"_proxy") for name in lowered - _OTHERS):
        return True
    _Scan.size = len(names)
    return False
