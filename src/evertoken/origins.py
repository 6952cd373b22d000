"""The origins that receive the token, and whether a URL belongs to them (pure)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from evertoken import urls


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins that receive the token.

    Attributes:
        names: each in the spelling of `urls.origin`.
        prefixes: for most origins, the beginning of its URLs as `requests` writes them, so that no
            parsing is needed.
        loopback: the same for plain HTTP on loopback, where a proxy must be ruled out.
    """

    names: tuple[str, ...]
    prefixes: tuple[str, ...]
    loopback: tuple[str, ...]

    def cover(self, url: str | None) -> bool:
        """Whether `url` belongs to one of them, however its host and port are written."""
        return origin_of(url) in self.names


@functools.lru_cache(maxsize=64)
def origins_of(given: tuple[str, ...], *, allow_http: bool) -> Origins:
    """The origins of the URLs `given`. Many accounts share one object.

    Raises:
        InsecureURL: one of them is not an https URL.
        ValueError: one of them is not a URL, or holds a login or a fragment.
    """
    checked = [urls.checked(url, what="an origin", allow_http=allow_http) for url in given]
    names = tuple(dict.fromkeys(map(urls.origin, checked)))
    # with the slash: "https://api.example.com.evil.example/" must not match
    beginnings = [f"{name}/" for name in names]
    loopback = tuple(filter(urls.is_plain_loopback, beginnings))
    return Origins(names, tuple(it for it in beginnings if it not in loopback), loopback)


def origin_of(url: str | None) -> str | None:
    """The origin of `url`; None if it is not a valid URL."""
    try:
        return urls.origin(url or "")
    except ValueError:
        return None
