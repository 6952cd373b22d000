"""One POST to an OAuth endpoint: bounded in time and size, redirected nowhere, kept by nobody."""

from __future__ import annotations

import email.utils
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import requests

from evertoken import urls
from evertoken.errors import InvalidTokenResponse, TokenError
from evertoken.grants.connection import WatchedAdapter
from evertoken.grants.failures import timed_out, unavailable
from evertoken.grants.response import Answer
from evertoken.grants.watch import Watch
from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES = 1 << 20
"""Bytes, decoded, beyond which an answer is not read."""

# small, since urllib3 before 2.6 unpacks a piece whole, and a piece may grow a thousandfold
_CHUNK = 1 << 11

_OK = 200
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
_CODINGS = frozenset({"identity", "gzip", "x-gzip", "deflate"})

_PUBLIC_TYPES = frozenset(
    {
        *("application/json", "application/xml", "application/octet-stream"),
        *("text/html", "text/plain", "text/xml"),
    }
)
"""Media types that can be quoted where it is not known what is secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How the token endpoint is reached.

    Attributes:
        timeout: seconds without a byte after which an attempt ends.
        deadline: seconds after which it ends in any case.
        verify, cert: as `requests` takes them; its environment variables count too.
        proxies: likewise, as pairs. None is used for an `http://` URL on loopback.
    """

    timeout: float
    deadline: float
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: tuple[tuple[str, str], ...] = ()

    def post(
        self,
        url: str,
        form: Sequence[tuple[str, str]],
        *,
        basic: str | None = None,
        deadline: float | None = None,
        expects_body: bool = True,
    ) -> Answer:
        """POST `form` to `url`.

        A session of its own: nothing is pooled that a fork could inherit.

        Args:
            url: the endpoint.
            form: the parameters, each name once.
            basic: the value of `Authorization`, for client authentication by HTTP Basic.
            deadline: seconds, where less than this endpoint's are left.
            expects_body: whether a success is worth reading.

        Raises:
            GrantUnavailable: no answer came.
            InvalidTokenResponse: a success larger than `MAX_BYTES`, or in a coding that cannot be
                read. Of any other answer the status is enough, and its body then empty.
        """
        limit = self.deadline if deadline is None else deadline
        outcome: Answer | TokenError
        watch = Watch(limit)
        with closing(WatchedAdapter(watch)) as adapter:
            try:
                outcome = self._exchange(adapter, url, form, basic, expects_body=expects_body)
            except Exception as error:  # noqa: BLE001  told apart below, and never chained
                outcome = unavailable(error, urls.origin(url), sent=watch.sent)
            if watch.left <= 0 and isinstance(outcome, TokenError):
                outcome = timed_out(urls.origin(url), limit, sent=watch.sent)
        if isinstance(outcome, Answer):
            return outcome
        try:
            raise outcome
        finally:
            # its traceback holds this frame: a cycle that would keep the form until it is collected
            del outcome

    def _exchange(
        self,
        adapter: WatchedAdapter,
        url: str,
        form: Sequence[tuple[str, str]],
        basic: str | None,
        *,
        expects_body: bool,
    ) -> Answer | TokenError:
        asked = requests.Request(
            "POST", url, headers=_HEADERS, data=list(form), auth=_Authorization(basic)
        )
        with requests.Session() as session:
            request = session.prepare_request(asked)
            settings = session.merge_environment_settings(
                url, dict(self.proxies), stream=True, verify=self.verify, cert=self.cert
            )
        if urls.is_plain_loopback(request.url or ""):
            # it is in plain text because it never leaves this machine
            settings["proxies"] = {}
        # not by the session: it reads the body of a redirect whole, even of one that it leaves
        with adapter.send(request, timeout=self.timeout, **settings) as response:
            needless = response.status_code == _OK and not expects_body
            body, flaw = (b"", "") if needless else _read(response)
        headers = {name.lower(): value for name, value in response.headers.items()}
        answer = Answer(
            url=url,
            status=response.status_code,
            headers=headers,
            body=body,
            retry_after=_retry_after(headers.get("retry-after")),
        )
        return _unreadable(answer, flaw) if flaw and answer.status == _OK else answer


class _Authorization(requests.auth.AuthBase):
    """Sets HTTP Basic or nothing; being there at all keeps a `.netrc` login out."""

    def __init__(self, basic: str | None) -> None:
        self._basic = basic

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._basic is not None:
            request.headers["Authorization"] = self._basic
        return request


def _read(response: requests.Response) -> tuple[bytes, str]:
    """The decoded body, or what is wrong with it."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in _CODINGS:
        # some that a server may choose unasked unpack without any bound
        return b"", "is in a content coding that was not asked for"
    body = bytearray()
    try:
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > MAX_BYTES:
                return b"", f"is larger than {MAX_BYTES} bytes"
    except requests.exceptions.ContentDecodingError:
        return b"", f"is no sound {coding}"
    except OSError:
        # what is known by now is not lost with the rest: a refused password is not posted again
        if response.status_code == _OK:
            raise
        return b"", "is cut short"
    return bytes(body), ""


def _unreadable(answer: Answer, flaw: str) -> InvalidTokenResponse:
    kind = answer.content_type if answer.content_type in _PUBLIC_TYPES else None
    return InvalidTokenResponse(
        f"the answer of {urls.origin(answer.url)} {flaw} "
        f"(status {answer.status}, {kind or 'no known content type'})",
        status=answer.status,
        content_type=kind,
        transient=True,
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds from now (RFC 9110 section 10.2.3); None for garbage and the past."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = email.utils.parsedate_to_datetime(text)
        # one of the three forms of an HTTP-date names no zone, and all of them mean UTC
        wait = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - clock.now().wall
    except (ValueError, OverflowError):
        return None
    return wait if wait > 0 else None
