"""Controls whether `requests` keeps the token on a redirect (RFC 6750 section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from requests import Response


def target_of(response: Response) -> str | None:
    """The target of the redirect `response`; None if it is not a redirect."""
    if not response.is_redirect:
        return None
    # an invalid URL raises here, as it does in `requests`
    return urljoin(response.request.url or "", response.headers["Location"])


def is_upgrade(url: str, target: str) -> bool:
    """Whether a redirect leads from http:// to https://.

    On one host `requests` then keeps the `Authorization` header. To any other origin it drops the
    header itself.
    """
    return url.startswith("http:") and urlsplit(target).scheme == "https"


def drop_token(response: Response) -> None:
    """Make `requests` follow the redirect `response` without `Authorization`."""
    request = response.request
    preserve_request(response)
    del request.headers["Authorization"]


class Redirected:
    """Makes `requests` follow the redirect `response` to `target` with its `Authorization`.

    `requests` drops the header if the origin of `target` differs from that of the request. So the
    request's URL is set to `target` until `undo`.
    """

    __slots__ = ("_request", "_url")

    def __init__(self, response: Response, target: str) -> None:
        preserve_request(response)
        self._request = response.request
        self._url = self._request.url
        self._request.url = target

    def undo(self) -> None:
        """Restore the URL of the request, for readers of `history`."""
        self._request.url = self._url


def preserve_request(response: Response) -> None:
    """Give `response` a copy of its request, so that the request itself can change."""
    # `requests` makes the next hop from the request object that was sent, so that object must
    # change, while the history must show what was sent.
    response.request = response.request.copy()
