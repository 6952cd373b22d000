"""BearerAuth: puts the token on requests to its origins, and replays one that it was refused on.

The only room that knows a `PreparedRequest`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, RequestException, Response
from requests.auth import AuthBase
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

from evertoken import urls
from evertoken.errors import TokenError
from evertoken.events import Replayed, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from evertoken.manager import TokenManager

_log = logging.getLogger("evertoken")

DRAINED = 1 << 16
"""Bytes up to which a refused answer is read, so that its connection can be used again."""


class BearerAuth(AuthBase):
    """`requests` authentication with the manager's token, bound to its origins.

    A request to any other origin passes through untouched, with one warning per origin. Where the
    API answers with one of `retry_statuses`, the token is renewed and the request sent once more
    with the same body; where that body cannot be had again, the answer comes back as it is.

    Args:
        manager: hands out the token.
        origins: URLs whose scheme, host and port get the token; None: that of the token URL.
        retry_statuses: answers that mean a dead token; `()` never replays.
        allow_http: allow `http://` origins beyond loopback, where the token travels in clear.

    Raises:
        InsecureURL: an origin is no https URL.
        ValueError: there is no origin, and the grant has no token URL.
    """

    def __init__(
        self,
        manager: TokenManager,
        *,
        origins: Iterable[str] | None = None,
        retry_statuses: Collection[int] = (401,),
        allow_http: bool = False,
    ) -> None:
        self.manager = manager
        self.retry_statuses = frozenset(retry_statuses)
        self.allow_http = allow_http
        given = [_token_url(manager)] if origins is None else list(origins)
        checked = [urls.checked(url, what="an origin", allow_http=allow_http) for url in given]
        self.origins = frozenset(map(urls.origin, checked))
        # with the slash: "https://api.example.com.evil.example/" starts like the origin too
        self._prefixes = tuple(f"{origin}/" for origin in self.origins)
        self._warned: set[str] = set()
        # both are on the path of each request: a look-up of a method would make a new object
        self._handler = self._answered
        self._renewer = manager.renewer

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set `Authorization` (RFC 6750 section 2.1); waits only when no usable token exists.

        Raises:
            TokenError: there is no token, as `TokenManager.token` says.
        """
        url = request.url or ""
        if not url.startswith(self._prefixes) and not self._covers(url):
            self._warn_of(url)
            return request
        headers = request.headers
        # the public test for a header raises and catches inside: it costs more than all the rest
        if "authorization" in headers._store:  # noqa: SLF001  as said above
            return self._signed_before(request)
        snapshot = self._renewer.snapshot
        if snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            headers["Authorization"] = snapshot.header
        else:
            headers["Authorization"] = self.manager.header()
        request.hooks["response"].append(self._handler)
        return request

    def __repr__(self) -> str:
        return f"BearerAuth({self.manager!r}, origins={sorted(self.origins)})"

    def __reduce__(self) -> tuple[Callable[..., BearerAuth], tuple[object, ...]]:
        given = (sorted(self.origins), sorted(self.retry_statuses), self.allow_http)
        return _rebuilt, (type(self), self.manager, *given)

    def _signed_before(self, request: PreparedRequest) -> PreparedRequest:
        """Bring a token of ours up to date; leave a header of the caller's own alone."""
        if any(map(self._is_own, request.hooks["response"])):
            request.headers["Authorization"] = self.manager.header()
        else:
            _log.debug("a request to %s brings its own Authorization", request.url)
        return request

    def _covers(self, url: str) -> bool:
        """Whether `url` is of an origin of ours, however its host and port are written."""
        return urls.origin(url) in self.origins

    def _warn_of(self, url: str) -> None:
        origin = urls.origin(url)
        if origin not in self._warned:
            self._warned.add(origin)
            _log.warning("no token is sent to %s: it is none of %s", origin, sorted(self.origins))

    def _answered(self, response: Response, **kwargs: object) -> Response:
        """Answer a refused token with a later one, or give `response` back as it is."""
        sent = response.request.headers.get("Authorization")
        if response.status_code not in self.retry_statuses or not isinstance(sent, str):
            return response
        if not self._covers(response.request.url or "") or _is_about_scope(response):
            return response
        header = self._replacement(sent, response.status_code)
        if header is None or not _rewound(response.request):
            return response
        return self._replay(response, header, **kwargs)

    def _replacement(self, sent: str, status: int) -> str | None:
        try:
            return self.manager.replacement(sent)
        except TokenError as error:
            _log.warning("the API answered %d, and no other token was to be had: %s", status, error)
            return None

    def _replay(self, response: Response, header: str, **kwargs: Any) -> Response:
        request = response.request
        # the history keeps what was sent; `request` itself goes on, since `requests` copies its
        # headers into the next hop of a redirect
        response.request = request.copy()
        request.headers["Authorization"] = header
        hooks = request.hooks["response"]
        hooks[:] = [_Replayed(self, request) if self._is_own(hook) else hook for hook in hooks]
        _release(response)
        replayed: Response = response.connection.send(request, **kwargs)
        replayed.history = [*response.history, response]
        emit(self.manager.on_event, Replayed(response.status_code))
        return replayed

    def _is_own(self, hook: object) -> bool:
        return hook is self._handler or isinstance(hook, _Replayed)


class _Replayed:
    """Stands in for the handler once a call has had its replay.

    The hops of a redirect share their request's hooks: a refusal there is of the same call. A
    refusal of the very request that was replayed is of a new one.
    """

    def __init__(self, auth: BearerAuth, request: PreparedRequest) -> None:
        self._auth = auth
        self._request = request

    def __call__(self, response: Response, **kwargs: object) -> Response:
        if response.request is self._request:
            return self._auth._answered(response, **kwargs)  # noqa: SLF001  its other half
        return response


def _token_url(manager: TokenManager) -> str:
    # a key may ask callables for the user name, which is not to happen before the first grant
    url: object = getattr(manager.grant, "token_url", None)
    return url if isinstance(url, str) else manager.grant.key.token_url


def _rebuilt(
    kind: type[BearerAuth],
    manager: TokenManager,
    origins: list[str],
    retry_statuses: list[int],
    allow_http: bool,  # noqa: FBT001  pickle passes arguments by position
) -> BearerAuth:
    return kind(manager, origins=origins, retry_statuses=retry_statuses, allow_http=allow_http)


def _is_about_scope(response: Response) -> bool:
    """Whether the token is good but does not reach so far (RFC 6750 section 3.1)."""
    return "insufficient_scope" in response.headers.get("WWW-Authenticate", "").lower()


def _rewound(request: PreparedRequest) -> bool:
    """Whether the body is back at where it stood when the request was made."""
    body: object = request.body
    if body is None or isinstance(body, bytes | str):
        return True
    # set by requests where a body can tell its position; there is no public word for it
    if not isinstance(request._body_position, int):  # noqa: SLF001
        return False
    try:
        rewind_body(request)
    except UnrewindableBodyError:
        return False
    return True


def _release(response: Response) -> None:
    """Give the connection of a refused answer back: read it where it is small, else close it."""
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) <= DRAINED and "Content-Encoding" not in response.headers:
        with contextlib.suppress(RequestException):
            _ = response.content
    response.close()
