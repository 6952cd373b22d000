"""One POST to an OAuth endpoint: bounded in time and size, redirected nowhere, kept by nobody."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from evertoken import clock, urls
from evertoken.errors import InvalidTokenResponse, TokenError
from evertoken.grants.failures import timed_out, unavailable
from evertoken.grants.response import Answer
from evertoken.grants.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BYTES = 1 << 20
"""Bytes, decoded, beyond which an answer is not read."""

_CHUNK = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How the token endpoint is reached.

    Attributes:
        timeout: seconds without a byte after which an attempt ends.
        deadline: seconds after which it ends in any case.
        verify, cert, proxies: as `requests` takes them; its environment variables count too.
    """

    timeout: float
    deadline: float
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] | None = None

    def post(
        self,
        url: str,
        form: Sequence[tuple[str, str]],
        *,
        basic: str | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """POST `form` to `url`.

        A session of its own: nothing is pooled that a fork could inherit.

        Args:
            url: the endpoint.
            form: the parameters, each name once.
            basic: the value of `Authorization`, for client authentication by HTTP Basic.
            deadline: seconds, where less than this endpoint's are left.

        Raises:
            GrantUnavailable: no answer came.
            InvalidTokenResponse: the answer was larger than `MAX_BYTES`.
        """
        limit = self.deadline if deadline is None else deadline
        with requests.Session() as session, Watch(limit) as watch:
            session.mount("https://", watch.adapter())
            session.mount("http://", watch.adapter())
            outcome: Answer | TokenError
            try:
                outcome = self._exchange(session, url, form, basic)
            except Exception as error:  # noqa: BLE001  told apart below, and never chained
                outcome = unavailable(error, urls.origin(url))
            if watch.expired:
                outcome = timed_out(urls.origin(url), limit)
        if isinstance(outcome, TokenError):
            raise outcome
        return outcome

    def _exchange(
        self,
        session: requests.Session,
        url: str,
        form: Sequence[tuple[str, str]],
        basic: str | None,
    ) -> Answer | TokenError:
        with session.post(
            url,
            data=list(form),
            headers={"Accept": "application/json"},
            auth=_Authorization(basic),
            timeout=self.timeout,
            allow_redirects=False,
            stream=True,
            verify=self.verify,
            cert=self.cert,
            proxies=dict(self.proxies) if self.proxies else None,
        ) as response:
            body = _read(response)
            headers = {name.lower(): value for name, value in response.headers.items()}
            if body is None:
                return InvalidTokenResponse(
                    f"the answer of {urls.origin(url)} is larger than {MAX_BYTES} bytes",
                    status=response.status_code,
                )
            return Answer(
                url=url,
                status=response.status_code,
                headers=headers,
                body=body,
                retry_after=_retry_after(headers.get("retry-after")),
            )


class _Authorization(requests.auth.AuthBase):
    """Sets HTTP Basic or nothing; being there at all keeps a `.netrc` login out."""

    def __init__(self, basic: str | None) -> None:
        self._basic = basic

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._basic is not None:
            request.headers["Authorization"] = self._basic
        return request


def _read(response: requests.Response) -> bytes | None:
    """The decoded body; None as soon as it is too large."""
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)


def _retry_after(value: str | None) -> float | None:
    """Seconds (RFC 9110 section 10.2.3); None for garbage and the past."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:12])
    try:
        wait = email.utils.parsedate_to_datetime(value).timestamp() - clock.now().wall
    except (ValueError, OverflowError):
        return None
    return wait if wait > 0 else None
