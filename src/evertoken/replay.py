"""What is done with a refused answer or a redirect: send again, byte for byte, or take back."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from requests import RequestException
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

DRAINED = 1 << 16
"""Bytes up to which a refused answer is read, so that its connection can be used again."""

_SCOPE_ERROR = re.compile(r'error\s*=\s*"?insufficient_scope\b', re.IGNORECASE)


def is_about_scope(response: Response) -> bool:
    """Whether the token is good but does not reach so far (RFC 6750 section 3.1)."""
    return bool(_SCOPE_ERROR.search(response.headers.get("WWW-Authenticate", "")))


def is_upgrade(response: Response) -> bool:
    """Whether `requests` is about to go on from http:// to https://.

    On one host it lets the `Authorization` header go along; on the way to any other origin it
    drops it by itself.
    """
    url = response.request.url or ""
    if not url.startswith("http:") or not response.is_redirect:
        return False
    # what is no URL raises here, as it does in `requests`
    return urlsplit(urljoin(url, response.headers["Location"])).scheme == "https"


def rewound(request: PreparedRequest) -> bool:
    """Whether the body is back at where it stood when the request was made."""
    body: object = request.body
    if body is None or isinstance(body, bytes | str):
        return True
    # Set by requests where a body can tell its position. It has no public name: where it is gone,
    # nobody knows where such a body stood.
    if not isinstance(getattr(request, "_body_position", None), int):
        return False
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):
        # ValueError: the body is a file that somebody closed
        return False
    return True


def sent_again(response: Response, header: str, **kwargs: Any) -> Response:
    """The answer to the request of `response`, sent with another `Authorization`.

    Args:
        response: goes into the answer's history.
        header: the value of `Authorization`.
        **kwargs: as the hook got them: how the request was sent.
    """
    request = response.request
    _keep_as_sent(response)
    request.headers["Authorization"] = header
    _release(response)
    answer: Response = response.connection.send(request, **kwargs)
    answer.history = [*response.history, response]
    return answer


def take_back(response: Response) -> None:
    """Have `requests` follow the redirect `response` without `Authorization`."""
    request = response.request
    _keep_as_sent(response)
    del request.headers["Authorization"]


def _keep_as_sent(response: Response) -> None:
    # `requests` makes the next hop of a redirect from the request object that was sent: that one
    # is to change, while the history shows what it was
    response.request = response.request.copy()


def _release(response: Response) -> None:
    """Read a refused answer, so that its connection serves the replay; close one that is large."""
    body = bytearray()
    with contextlib.suppress(RequestException):
        for chunk in response.iter_content(DRAINED):
            body += chunk
            if len(body) > DRAINED:
                break
    # As `requests` keeps that of a redirect, for who looks into `history`. In a `requests` that has
    # no such name, it does no harm.
    response._content = bytes(body)  # noqa: SLF001  there is no public word for it
    response.close()
