"""Sends a rejected request again: byte for byte, over the same connection."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from requests.cookies import extract_cookies_to_jar, get_cookie_header
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from evertoken.redirects import preserve_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest, Response

DRAINED = 1 << 16
"""The bytes of a rejecting answer that are read at most, so that its connection can be reused."""

DRAIN_TIME = 1.0
"""The seconds for which it is read at most: a new connection costs less."""


def was_sent(response: Response) -> bool:
    """Whether `response` came over a connection, so that its request can be sent again.

    A response of `requests-cache`, or one that was pickled, lacks one of these attributes.
    """
    return hasattr(response, "connection") and hasattr(response.request, "hooks")


def rewind(request: PreparedRequest) -> bool:
    """Rewind the body to its position when the request was made. True if that worked."""
    body: object = request.body
    if body is None or isinstance(body, bytes | str):
        return True
    # `requests` sets this for a body that can tell its position. It is not public: without it, the
    # position is unknown.
    if not isinstance(getattr(request, "_body_position", None), int):
        return _is_buffer(body)
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):
        # ValueError: the body is a closed file
        return False
    return True


def _is_buffer(body: object) -> bool:
    """Whether `body` is a buffer in memory (`bytearray`, `memoryview`, `array`)."""
    if hasattr(body, "read"):
        # mapped memory is read like a file, from its position
        return False
    try:
        memoryview(body).release()  # type: ignore[arg-type]  # the call tests the type
    except (TypeError, ValueError):
        # ValueError: a released memoryview
        return False
    return True


def resend(response: Response, header: str, **kwargs: Any) -> Response:
    """Send the request of `response` again with another `Authorization`.

    Args:
        response: added to the history of the new response.
        header: the value of `Authorization`.
        **kwargs: how the request was sent, as passed to the hook.
    """
    request = response.request
    preserve_request(response)
    request.headers["Authorization"] = header
    _take_cookies(request, response)
    _release(response, min(DRAIN_TIME, _read_timeout(kwargs.get("timeout"))))
    start = time.perf_counter()
    answer: Response = response.connection.send(request, **kwargs)
    # `requests` sets it only for the first response
    answer.elapsed = timedelta(seconds=time.perf_counter() - start)
    answer.history = [*response.history, response]
    return answer


def _take_cookies(request: PreparedRequest, response: Response) -> None:
    """Add the cookies set by `response` to `request`, as `requests` does on a redirect.

    A `Cookie` header written by the caller is not changed. The jar is not public: without it, the
    replay has the cookies of the first request.
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
    """The read timeout in seconds, from any form of `timeout=` that `requests` accepts."""
    read = timeout[1] if isinstance(timeout, tuple) else timeout
    if isinstance(read, Timeout):
        # its total counts from the start of the connection
        began = read.clone()
        began.start_connect()
        read = began.read_timeout
    return read if isinstance(read, int | float) else math.inf


def _release(response: Response, seconds: float) -> None:
    """Read a rejecting answer, so that its connection can be used for the replay.

    If it is large or slow, the connection is closed instead. The content is kept for readers of
    `history`, as `requests` does for a redirect.
    """
    if not getattr(response, "_content", False):
        body = _read(response, time.monotonic() + seconds)
        # harmless if a later `requests` does not use this attribute
        response._content = body  # noqa: SLF001  there is no public setter
    response.close()


def _read(response: Response, end: float) -> bytes:
    raw = response.raw
    if not isinstance(raw, HTTPResponse):
        # from a custom adapter or a test double
        return response.content
    body = bytearray()
    # RuntimeError: a part of it was read already
    with contextlib.suppress(HTTPError, OSError, RuntimeError):
        read, wire = _reader(raw), getattr(raw.connection, "sock", None)
        while len(body) <= DRAINED and (left := end - time.monotonic()) > 0:
            if wire is not None:
                # otherwise a body that stops would be waited for as long as the caller's timeout
                wire.settimeout(left)
            if not (part := read()):
                break
            body += part
    return _decoded(bytes(body), raw)


def _reader(raw: HTTPResponse) -> Callable[[], bytes]:
    """A function that reads what has arrived; `read(amount)` would wait for all of it."""
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
