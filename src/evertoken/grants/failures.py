"""Why no answer came, told apart, without the exception that holds the request."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING

import requests

from evertoken.errors import GrantUnavailable
from evertoken.runtime import mocks

if TYPE_CHECKING:
    from collections.abc import Iterator

_MISSING = re.compile(r"Could not find (?:a suitable )?(?:the )?TLS (.+), invalid path: (.+)")
"""How `requests` says that a file is not there; where it says otherwise, the cause is not named."""

_OPTIONS = {
    "CA certificate bundle": "the CA bundle of `verify` or REQUESTS_CA_BUNDLE",
    "certificate file": "the certificate of `cert`",
    "key file": "the key of `cert`",
}
_UNNAMED = re.compile(r"\[SSL\] (\w[\w ]*) \(_ssl\.c")

_NAMABLE = 300
"""Characters of a path: who gave a certificate in the place of its path does not see it again."""

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")
_PROXY_WANTS_LOGIN = 407

_CAUSES: list[tuple[type[BaseException], str]] = [
    (requests.exceptions.SSLError, "the TLS handshake failed"),
    (socket.gaierror, "the name was not found (DNS)"),
    (ConnectionRefusedError, "the connection was refused"),
    (TimeoutError, "no answer came in time"),
    (requests.exceptions.Timeout, "no answer came in time"),
    (http.client.RemoteDisconnected, "the connection was closed without an answer"),
    (ConnectionResetError, "the connection was reset"),
    (http.client.IncompleteRead, "the answer was cut short"),
    (http.client.LineTooLong, "the answer's headers are too large"),
    (http.client.HTTPException, "the answer is no sound HTTP"),
    (requests.ConnectionError, "the connection failed"),
    (requests.exceptions.ChunkedEncodingError, "the answer was cut short"),
]
"""What another try soon may mend, the most telling first."""


def unavailable(error: Exception, origin: str, *, sent: bool) -> GrantUnavailable:
    """What `error`, raised by `requests` on the way to `origin`, means to a caller.

    Args:
        error: as it was raised.
        origin: of the endpoint.
        sent: whether the endpoint may have received a part of the request.
    """
    chain = list(links(error))
    what, transient = _cause(error, chain)
    for link in chain:
        # some refer to each other: their frames would keep the form until they are collected
        link.__traceback__ = None
    proxied = isinstance(error, requests.exceptions.ProxyError)
    way = "could not be asked through the proxy" if proxied else "could not be asked"
    if mocks.are_in_place():
        what += " (a mock stands in for servers here: does it know this URL?)"
    return GrantUnavailable(f"{origin} {way}: {what}", transient=transient, local=not sent)


def timed_out(origin: str, deadline: float, *, sent: bool) -> GrantUnavailable:
    """The error of an exchange that its deadline ended; `deadline` in seconds."""
    return GrantUnavailable(
        f"{origin} did not answer in full within {deadline:g} s", transient=True, local=not sent
    )


def _cause(error: Exception, chain: list[BaseException]) -> tuple[str, bool]:
    """A sentence, and whether another try soon may help."""
    for link in chain:
        if tunnel := _TUNNEL.match(str(link)):
            return _of_tunnel(int(tunnel[1]))
        if isinstance(link, ssl.SSLCertVerificationError):
            reason = link.verify_message.rstrip(".")
            return f"the TLS certificate is not trusted ({reason}): check the host, `verify`", False
        if missing := _MISSING.fullmatch(str(link)):
            return _of_file(*missing.groups()), False
        if isinstance(link, requests.exceptions.InvalidSchema) and "SOCKS" in str(link):
            return 'a SOCKS proxy needs a package: pip install "requests[socks]"', False
    for kind, what in _CAUSES:
        if any(isinstance(link, kind) for link in chain):
            return what + _of_openssl(chain), True
    settings = "the URL, `verify`, `cert`, `proxies` and `transport`"
    return f"{type(error).__name__}: check {settings}", False


def _of_file(what: str, path: str) -> str:
    option = _OPTIONS.get(what, "a file of `verify` or `cert`")
    shown = f": {path}" if path.isprintable() and len(path) < _NAMABLE else " (it is not a path)"
    return f"there is no such file for {option}{shown}"


def _of_openssl(chain: list[BaseException]) -> str:
    """OpenSSL's own reason, such as "wrong version number"."""
    for link in chain:
        if isinstance(link, ssl.SSLError):
            # of a file without a certificate it has the text alone
            unnamed = _UNNAMED.match(str(link))
            if reason := link.reason or (unnamed and unnamed[1]):
                return f" ({reason.replace('_', ' ').lower()})"
    return ""


def _of_tunnel(status: int) -> tuple[str, bool]:
    if status == _PROXY_WANTS_LOGIN:
        return "it wants a login (407): put it into the proxy's URL", False
    return f"it opened no tunnel (status {status})", status >= 500  # noqa: PLR2004  server errors


def links(error: BaseException) -> Iterator[BaseException]:
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
