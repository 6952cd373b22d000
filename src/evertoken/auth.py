"""BearerAuth: puts the token on requests to its origins, and has one replayed that was refused."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from requests.auth import AuthBase

from evertoken import proxies, urls
from evertoken.errors import InsecureURL, TokenError, discreet
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from requests import PreparedRequest, Response

    from evertoken import events, lru, replay, requests_errors
    from evertoken.engine.manager import TokenManager
    from evertoken.lru import Once
    from evertoken.runtime import reports
else:
    # most processes never meet a 401, an error, nor a reason to warn
    events, lru, replay, requests_errors = (
        lazy(f"evertoken.{room}") for room in ("events", "lru", "replay", "requests_errors")
    )
    reports = lazy("evertoken.runtime.reports")


class BearerAuth(AuthBase):
    """`requests` authentication with the manager's token, bound to its origins.

    A request to any other origin passes through untouched, with one warning per origin (the last
    1,024 are remembered). Where the API answers with one of `retry_statuses`, the token is renewed
    and the request sent once more with the same body; where that body cannot be had again, the
    answer comes back as it is.

    A request to an `http://` origin on loopback raises `InsecureURL` if the environment names a
    proxy for it, since the token would leave the machine in plain text. Proxies of the session
    cannot be seen before a request is sent; they are warned of afterwards.

    Args:
        manager: hands out the token.
        origins: URLs whose scheme, host and port get the token; None: that of the token URL.
        retry_statuses: answers that mean a dead token; `()` never replays.
        allow_http: allow `http://` origins beyond loopback, where the token travels in clear.

    Raises:
        InsecureURL: an origin is no https URL.
        ValueError: there is no origin, and the grant has no token URL.
    """

    __slots__ = (
        "_handler",
        "_loopback",
        "_prefixes",
        "_renewer",
        "_warned",
        "allow_http",
        "manager",
        "origins",
        "retry_statuses",
    )

    @discreet
    def __init__(
        self,
        manager: TokenManager,
        *,
        origins: Iterable[str] | None = None,
        retry_statuses: Collection[int] = (401,),
        allow_http: bool = False,
    ) -> None:
        self.manager = manager
        self.retry_statuses = tuple(retry_statuses)
        self.allow_http = allow_http
        given = (_token_url(manager),) if origins is None else tuple(origins)
        self.origins, self._prefixes, self._loopback = _covered(given, allow_http=allow_http)
        self._warned: Once | None = None
        # both are on the path of each request: a look-up of a method would make a new object
        self._handler = self._answered
        self._renewer = manager.renewer

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set `Authorization` (RFC 6750 section 2.1); waits only when no usable token exists.

        Raises:
            InsecureURL: a proxy would receive the token of an `http://` origin on loopback.
            TokenError: there is no token, as `TokenManager.token` says.

        Both are a `requests.RequestException` too.
        """
        url = request.url or ""
        if not (
            url.startswith(self._prefixes)
            or (url.startswith(self._loopback) and not proxies.are_possible())
            or self._admits(request, url)
        ):
            return request
        # the public test for a header raises and catches inside: it costs more than all the rest
        try:
            fields = request.headers._store  # noqa: SLF001  as said above
        except AttributeError:
            fields = None
        if fields is None:
            # outside of the handler: what is raised now would have a context
            return self._signed_by_public_names(request)
        if "authorization" in fields:
            return self._signed_before(request)
        snapshot = self._renewer.snapshot
        if snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            # as `headers[…] = …` would, without its call
            fields["authorization"] = ("Authorization", snapshot.header)
        else:
            request.headers["Authorization"] = self._header()
        hooks = request.hooks
        # append() would make room for more, which costs a tenth of the whole path
        hooks["response"] = [*hooks["response"], self._handler]
        return request

    def __repr__(self) -> str:
        return f"BearerAuth({self.manager!r}, origins={sorted(self.origins)})"

    def __reduce__(self) -> tuple[Callable[..., BearerAuth], tuple[object, ...]]:
        given = (sorted(self.origins), sorted(self.retry_statuses), self.allow_http)
        return _rebuilt, (type(self), self.manager, *given)

    def _header(self) -> str:
        try:
            return self.manager.header()
        except TokenError as raised:
            error = raised.again()
        # outside of the handler: `raised` would be its context
        raise requests_errors.for_requests(error)

    def _signed_by_public_names(self, request: PreparedRequest) -> PreparedRequest:
        """As `__call__` does, with a `requests` that keeps its headers in another way."""
        if "Authorization" in request.headers:
            return self._signed_before(request)
        request.headers["Authorization"] = self._header()
        request.register_hook("response", self._handler)
        return request

    def _signed_before(self, request: PreparedRequest) -> PreparedRequest:
        """Bring a token of ours up to date; leave a header of the caller's own alone."""
        if self._signed(request):
            request.headers["Authorization"] = self._header()
        else:
            # the origin alone: a URL may hold a login, or a secret in its query
            reports.debug("a request to %s brings its own Authorization", _origin(request.url))
        return request

    def _admits(self, request: PreparedRequest, url: str) -> bool:
        """Whether the token goes to `url`, if its beginning alone does not say so.

        Raises:
            InsecureURL: it is an `http://` URL on loopback, and a proxy would receive the token.
        """
        if not url.startswith(self._loopback):
            if not self._covers(url):
                self._warn_of(url)
                return False
            if not urls.is_plain_loopback(url):
                return True
        # a header of the caller's own is left alone, and no token sent
        if proxies.in_environment(url) and (
            "Authorization" not in request.headers or self._signed(request)
        ):
            raise requests_errors.for_requests(
                InsecureURL(
                    f"the token for {_origin(url)} would go to a proxy in plain text: exclude this "
                    f"host from the proxies of the environment ({proxies.exclusion_of(url)})"
                )
            )
        return True

    def _signed(self, request: PreparedRequest) -> bool:
        return any(map(self._is_own, request.hooks["response"]))

    def _covers(self, url: str | None) -> bool:
        """Whether `url` is of an origin of ours, however its host and port are written."""
        return _origin(url) in self.origins

    def _warn_of(self, url: str) -> None:
        # what is no URL cannot be sent either, and that is for `requests` to say
        if (origin := _origin(url)) is not None:
            ours = ", ".join(sorted(self.origins))
            self._warn_once(origin, f"no token is sent to {origin}: it is none of {ours}")

    def _warn_of_proxy(self, url: str, given: Mapping[str, str]) -> None:
        if urls.is_plain_loopback(url) and proxies.chosen(url, given):
            here = _origin(url)
            self._warn_once(
                f"{here} proxy",
                f"the token for {here} went to a proxy in plain text: exclude this host from the "
                "proxies of the session",
            )

    def _warn_once(self, cause: str, message: str) -> None:
        if self._warned is None:
            self._warned = lru.Once()
        if self._warned.first(cause):
            reports.warning("%s", message)

    def _answered(self, response: Response, **kwargs: Any) -> Response:
        """Look closer at an answer that means a dead token, or leads to another URL."""
        if self._loopback and kwargs.get("proxies"):
            self._warn_of_proxy(response.request.url or "", kwargs["proxies"])
        status = response.status_code
        if status not in self.retry_statuses and not 300 <= status < 400:  # noqa: PLR2004  redirects
            return response
        call = _Call(self, response.request)
        hooks = response.request.hooks["response"]
        hooks[:] = [call if self._is_own(hook) else hook for hook in hooks]
        return call(response, **kwargs)

    def _is_own(self, hook: object) -> bool:
        return hook is self._handler or (isinstance(hook, _Call) and hook.auth is self)

    def _retried(self, response: Response, **kwargs: object) -> Response:
        """The answer to the same request with another token; `response` where there is none."""
        request, status = response.request, response.status_code
        sent = request.headers.get("Authorization")
        if status not in self.retry_statuses or replay.is_about_scope(response):
            return response
        if not isinstance(sent, str) or not self._covers(request.url):
            return response
        header = self._replacement(sent, status)
        # only now: a body that is gone is no reason to leave the next call a dead token
        if header is None or not replay.rewound(request):
            return response
        if urls.is_plain_loopback(request.url or ""):
            kwargs["proxies"] = {}
        answer = replay.sent_again(response, header, **kwargs)
        events.emit(self.manager.on_event, events.Replayed(status))
        return answer

    def _replacement(self, sent: str, status: int) -> str | None:
        try:
            return self.manager.replacement(sent)
        except TokenError as error:
            message = f"the API answered {status}, and no other token was to be had: {error}"
            self._warn_once(f"{status} {type(error).__name__} {error.status}", message)
            return None

    def _keep_home(self, response: Response) -> None:
        """Keep the token inside its origin where `requests` would not (RFC 6750 section 5.3)."""
        request = response.request
        if "Authorization" in request.headers and replay.is_upgrade(response):
            here = _origin(request.url)
            self._warn_once(
                f"{here} upgrade", f"no token goes from {here} to https://: name that as the origin"
            )
            replay.take_back(response)


class _Call:
    """One call, with one replay for all its hops: those of a redirect share the request's hooks.

    Attributes:
        auth: which put the token on it.
    """

    def __init__(self, auth: BearerAuth, first: PreparedRequest) -> None:
        self.auth = auth
        self._first = first
        self._spent = False

    def __call__(self, response: Response, **kwargs: object) -> Response:
        if response.request is self._first:
            # a prepared request that is sent again makes a call of its own
            self._spent = False
        auth = self.auth
        answer = response if self._spent else auth._retried(response, **kwargs)  # noqa: SLF001  kin
        self._spent |= answer is not response
        auth._keep_home(answer)  # noqa: SLF001  likewise
        return answer


@functools.lru_cache(maxsize=64)
def _covered(given: tuple[str, ...], *, allow_http: bool) -> tuple[tuple[str, ...], ...]:
    """The origins of the URLs `given`, and how their URLs begin: in general, and plain on loopback.

    Shared by many accounts.
    """
    checked = [urls.checked(url, what="an origin", allow_http=allow_http) for url in given]
    origins = tuple(dict.fromkeys(map(urls.origin, checked)))
    # with the slash: "https://api.example.com.evil.example/" starts like the origin too
    beginnings = [f"{origin}/" for origin in origins]
    loopback = tuple(filter(urls.is_plain_loopback, beginnings))
    return origins, tuple(it for it in beginnings if it not in loopback), loopback


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


def _origin(url: str | None) -> str | None:
    """The origin of `url`; None where it has none."""
    try:
        return urls.origin(url or "")
    except ValueError:
        return None
