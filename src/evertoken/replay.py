"""How a refused request is sent again: byte for byte, and over the same connection."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from requests.cookies import extract_cookies_to_jar, get_cookie_header
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from evertoken.redirects import keep_as_sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest, Response

DRAINED = 1 << 16
"""Bytes up to which a refused answer is read, so that its connection can be used again."""

DRAIN_TIME = 1.0
"""Seconds for which it is read at most: another connection costs less."""

_SCOPE_ERROR = re.compile(r'error\s*=\s*"?insufficient_scope\b', re.IGNORECASE)


def was_sent(response: Response) -> bool:
    """Whether `response` came over a connection; a cache's did not, and cannot be asked for again.

    The answers of `requests-cache`, and those that were pickled, lack one or the other.
    """
    return hasattr(response, "connection") and hasattr(response.request, "hooks")


def is_about_scope(response: Response) -> bool:
    """Whether the token is good but does not reach so far (RFC 6750 section 3.1)."""
    return bool(_SCOPE_ERROR.search(response.headers.get("WWW-Authenticate", "")))


def rewound(request: PreparedRequest) -> bool:
    """Whether the body is back at where it stood when the request was made."""
    body: object = request.body
    if body is None or isinstance(body, bytes | str):
        return True
    # Set by requests where a body can tell its position. It has no public name: where it is gone,
    # nobody knows where such a body stood.
    if not isinstance(getattr(request, "_body_position", None), int):
        return _is_buffer(body)
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):
        # ValueError: the body is a file that somebody closed
        return False
    return True


def _is_buffer(body: object) -> bool:
    """Whether `body` is bytes in memory (`bytearray`, `memoryview`, `array`), which stay there."""
    if hasattr(body, "read"):
        # mapped memory is read like a file, from where it stands
        return False
    try:
        memoryview(body).release()  # type: ignore[arg-type]  # whether it fits is the question
    except (TypeError, ValueError):
        # ValueError: a memoryview that somebody released
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
    keep_as_sent(response)
    request.headers["Authorization"] = header
    _take_cookies(request, response)
    _release(response, min(DRAIN_TIME, _read_timeout(kwargs.get("timeout"))))
    start = time.perf_counter()
    answer: Response = response.connection.send(request, **kwargs)
    # as `requests` sets it for the first answer
    answer.elapsed = timedelta(seconds=time.perf_counter() - start)
    answer.history = [*response.history, response]
    return answer


def _take_cookies(request: PreparedRequest, response: Response) -> None:
    """Add the cookies that `response` set to `request`, as `requests` does on a redirect.

    A `Cookie` header that the caller wrote stays as it is. The jar has no public name: where it is
    gone, the replay has the cookies of the first request.
    """
    jar = getattr(request, "_cookies", None)
    if jar is None or "Set-Cookie" not in response.headers:
        return
    sent = request.headers.pop("Cookie", "")
    if sent != (get_cookie_header(jar, request) or ""):
        request.headers["Cookie"] = sent
        return
    extract_cookies_to_jar(jar, request, response.raw)
    request.prepare_cookies(jar)


# -- draining --------------------------------------------------------------------------------------


def _read_timeout(timeout: Any) -> float:
    """Seconds between two bytes that the caller allows: `timeout=` in any form of `requests`."""
    read = timeout[1] if isinstance(timeout, tuple) else timeout
    if isinstance(read, Timeout):
        # its total counts from the start of a connection
        began = read.clone()
        began.start_connect()
        read = began.read_timeout
    return read if isinstance(read, int | float) else math.inf


def _release(response: Response, seconds: float) -> None:
    """Read a refused answer, so that its connection serves the replay.

    One that is large, or takes longer, is closed. What was read is kept, as `requests` keeps a
    redirect's, for readers of `history`.
    """
    if not getattr(response, "_content", False):
        body = _read(response, time.monotonic() + seconds)
        # In a `requests` that has no such name, it does no harm.
        response._content = body  # noqa: SLF001  there is no public word for it
    response.close()


def _read(response: Response, end: float) -> bytes:
    raw = response.raw
    if not isinstance(raw, HTTPResponse):
        # of an adapter or a test double that reads from memory, or does as it likes
        return response.content
    body = bytearray()
    # RuntimeError: somebody has read a part of it
    with contextlib.suppress(HTTPError, OSError, RuntimeError):
        for part in iter(_reader(raw), b""):
            body += part
            if len(body) > DRAINED or time.monotonic() >= end:
                break
    return _decoded(bytes(body), raw)


def _reader(raw: HTTPResponse) -> Callable[[], bytes]:
    """Reads what has arrived: it waits for one byte, while `read(amount)` waits for all of them."""
    if hasattr(raw, "read1"):
        return functools.partial(raw.read1, DRAINED, decode_content=False)
    # urllib3 before 2.2
    return functools.partial(raw.read, 1, decode_content=False)


def _decoded(body: bytes, raw: HTTPResponse) -> bytes:
    if "Content-Encoding" not in raw.headers:
        return body
    coded = HTTPResponse(
        io.BytesIO(body), headers=raw.headers, preload_content=False, enforce_content_length=False
    )
    try:
        return coded.read(DRAINED, decode_content=True)
    except HTTPError:
        return body
