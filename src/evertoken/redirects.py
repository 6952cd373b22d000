"""Where the token goes on a redirect, as far as `requests` can be told (RFC 6750 section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from requests import Response


def target_of(response: Response) -> str | None:
    """Where the redirect `response` leads; None if it is not one."""
    if not response.is_redirect:
        return None
    # an invalid URL raises here, as it does in `requests`
    return urljoin(response.request.url or "", response.headers["Location"])


def is_upgrade(url: str, target: str) -> bool:
    """Whether a redirect leads from http:// to https://.

    On one host `requests` lets the `Authorization` header go along; on the way to any other origin
    it drops it by itself.
    """
    return url.startswith("http:") and urlsplit(target).scheme == "https"


def take_back(response: Response) -> None:
    """Have `requests` follow the redirect `response` without `Authorization`."""
    request = response.request
    keep_as_sent(response)
    del request.headers["Authorization"]


class Redirected:
    """Has `requests` follow the redirect `response` to `target` with its `Authorization`.

    `requests` compares the origins of `target` and of the request that `response` answers. It is
    shown `target` in place of the latter, until `undo`. To any other origin it drops the header.
    """

    __slots__ = ("_request", "_url")

    def __init__(self, response: Response, target: str) -> None:
        keep_as_sent(response)
        self._request = response.request
        self._url = self._request.url
        self._request.url = target

    def undo(self) -> None:
        """Show where the request was sent, for readers of `history`."""
        self._request.url = self._url


def keep_as_sent(response: Response) -> None:
    """Give `response` a copy of its request, so that the request itself can change."""
    # `requests` makes the next hop of a redirect from the request object that was sent: that one
    # is to change, while the history shows what it was
    response.request = response.request.copy()
