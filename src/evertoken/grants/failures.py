"""Why no answer came, told apart, without the exception that holds the request."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import NameResolutionError

from evertoken.errors import GrantUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


def unavailable(error: Exception, origin: str) -> GrantUnavailable:
    """What `error`, raised by `requests` on the way to `origin`, means to a caller."""
    what, transient = _cause(error)
    return GrantUnavailable(f"{origin} could not be asked: {what}", transient=transient)


def timed_out(origin: str, deadline: float) -> GrantUnavailable:
    """The error of an exchange that its deadline ended; `deadline` in seconds."""
    return GrantUnavailable(
        f"{origin} did not answer in full within {deadline:g} s", transient=True
    )


def _cause(error: Exception) -> tuple[str, bool]:  # noqa: PLR0911  a table, first match wins
    """A sentence, and whether another try soon may help."""
    chain = list(_chain(error))
    if isinstance(error, requests.exceptions.ProxyError):
        if any("407" in str(link) for link in chain):
            return "the proxy wants a login (407): put it into the proxy's URL", False
        return "the proxy did not pass the request on", True
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in chain):
        return "its TLS certificate is not trusted: check the host, the CA bundle, `verify`", False
    if isinstance(error, requests.exceptions.SSLError):
        return "the TLS handshake failed", True
    if any(isinstance(link, NameResolutionError | socket.gaierror) for link in chain):
        return "its name was not found (DNS)", True
    if any(isinstance(link, ConnectionRefusedError) for link in chain):
        return "the connection was refused", True
    if isinstance(error, requests.exceptions.Timeout) or _has(chain, TimeoutError):
        return "it did not answer in time", True
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection was cut", True
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return "the answer could not be decoded", True
    return f"{type(error).__name__}: check the URL, `verify`, `cert` and `proxies`", False


def _has(chain: list[BaseException], kind: type[BaseException]) -> bool:
    return any(isinstance(link, kind) for link in chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and all that led to it: urllib3 keeps reasons as attributes and arguments too."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
