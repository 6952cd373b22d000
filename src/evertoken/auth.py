"""BearerAuth: adds the token to requests for its origins, and has a refused one sent again."""

from __future__ import annotations

import functools
import re
import time
from typing import TYPE_CHECKING

from requests.auth import AuthBase

from evertoken import mistakes, proxies, urls
from evertoken.core.state import EMPTY
from evertoken.errors import InsecureURL, TokenError, discreet
from evertoken.hooks import BEARER, Handler, Hook, spelled
from evertoken.origins import origin_of, origins_of
from evertoken.runtime.lazy import lazy
from evertoken.warn_once import WarnOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from requests import PreparedRequest, Response

    from evertoken import adapters, requests_errors
    from evertoken.core.state import Snapshot
    from evertoken.engine.manager import TokenManager
    from evertoken.engine.renewer import Renewer
else:
    # most processes never meet an error
    adapters, requests_errors = lazy("evertoken.adapters"), lazy("evertoken.requests_errors")

_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token of HTTP (RFC 9110 section 11.1)."""


class BearerAuth(AuthBase):
    """`requests` authentication with the manager's token, bound to its origins.

    It replaces an `Authorization` header that the request or the session carries, as `requests`
    documents for `auth=`. A request to any other origin passes through untouched, with one warning
    per origin (the last 1,024 are remembered). A redirect from one of the origins to another takes
    the token along; any other drops it.

    Where the API's answer means a dead token, the token is renewed and the request sent once more
    with the same body. Where that body cannot be read again, or no other token is available, the
    answer comes back as it is. An adapter with `Retry(status_forcelist=[401])` hides such an
    answer: it sends the dead token again.

    A request to an `http://` origin on loopback raises `InsecureURL` if the environment names a
    proxy for it, since the token would leave the machine in plain text. Proxies of the session
    cannot be seen before a request is sent; they are warned of afterwards.

    ```python
    session.auth = BearerAuth(
        manager,
        origins=["https://api.example.com"],
        # an API that answers 200 with an error in the body
        is_unauthorized=lambda response: response.json().get("error") == "token_expired",
    )
    ```

    Args:
        manager: hands out the token.
        origins: URLs whose scheme, host and port get the token; None: that of the token URL.
        retry_statuses: answers that mean a dead token; `()`: none does by its status.
        is_unauthorized: a predicate on the responses of these origins: whether one with any other
            status means a dead token. It may read the body, also of a request with `stream=True`.
            If it raises, the answer is handed back, with one warning for each kind of exception.
        scheme: the word before the token in `Authorization`, for APIs that want `Token`, say.
        allow_http: allow `http://` origins beyond loopback, where the token travels in plain text.

    Raises:
        InsecureURL: an origin is not an https URL.
        ValueError: there is no origin, and the grant has no token URL; or `scheme` is not one word.
        TypeError: `manager` is not a `TokenManager`; the error names the remedy.
    """

    __slots__ = (
        "_handler",
        "_loopback",
        "_prefixes",
        "_renewer",
        "allow_http",
        "is_unauthorized",
        "manager",
        "origins",
        "retry_statuses",
        "scheme",
    )

    @discreet
    def __init__(
        self,
        manager: TokenManager,
        *,
        origins: Iterable[str] | None = None,
        retry_statuses: Collection[int] = (401,),
        is_unauthorized: Callable[[Response], object] | None = None,
        scheme: str = BEARER,
        allow_http: bool = False,
    ) -> None:
        if not _SCHEME.fullmatch(scheme):
            raise ValueError(f"scheme must be one word, such as Bearer or Token, not {scheme!r}")
        mistakes.require("manager", manager, "renewer")
        self.manager = manager
        self.retry_statuses = tuple(retry_statuses)
        self.is_unauthorized = is_unauthorized
        self.scheme = scheme
        self.allow_http = allow_http
        given = (_token_url(manager),) if origins is None else tuple(origins)
        covered = origins_of(given, allow_http=allow_http)
        self.origins = covered.names
        self._handler = Handler(
            manager, covered, self.retry_statuses, is_unauthorized, scheme, WarnOnce()
        )
        # these are on the path of each request
        self._prefixes, self._loopback = covered.prefixes, covered.loopback
        # the header of a snapshot has the scheme Bearer: with another one, `_header` makes it
        self._renewer: Renewer | _NeverFresh = manager.renewer if scheme == BEARER else _never_fresh

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set `Authorization` (RFC 6750 section 2.1); waits only when no usable token exists.

        Raises:
            InsecureURL: a proxy would receive the token of an `http://` origin on loopback.
            TokenError: there is no token, as `TokenManager.token` says.
            TypeError: the request is one of another HTTP client; the error names its adapter.

        The first two are a `requests.RequestException` too.
        """
        url = request.url or ""
        try:
            admitted = url.startswith(self._prefixes)
        except AttributeError:
            raise adapters.wrong_client(request) from None
        if not (
            admitted
            or (url.startswith(self._loopback) and not proxies.are_possible())
            or self._admits(url)
        ):
            return request
        # the public test for a header raises and catches inside: it costs more than all the rest
        try:
            fields = request.headers._store  # noqa: SLF001  as said above
        except AttributeError:
            fields = None
        # outside of the handler: what is raised now would have a context
        if fields is None or "authorization" in fields:
            return self._signed_anew(request)
        snapshot = self._renewer.snapshot
        if snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            # as `headers[…] = …` would, without its call
            fields["authorization"] = ("Authorization", snapshot.header)
        else:
            request.headers["Authorization"] = self._header()
        hooks = request.hooks
        # append() would make room for more, which costs a tenth of the whole path
        hooks["response"] = [self._handler, *hooks["response"]]
        return request

    def __repr__(self) -> str:
        return f"BearerAuth({self.manager!r}, origins={sorted(self.origins)})"

    def __reduce__(self) -> tuple[Callable[[], BearerAuth], tuple[()]]:
        configured = functools.partial(
            type(self),
            self.manager,
            origins=self.origins,
            retry_statuses=self.retry_statuses,
            is_unauthorized=self.is_unauthorized,
            scheme=self.scheme,
            allow_http=self.allow_http,
        )
        return configured, ()

    def _header(self) -> str:
        try:
            return spelled(self.manager.header(), self.scheme)
        except TokenError as raised:
            error = raised.again()
        # outside of the handler: `raised` would be its context
        raise requests_errors.for_requests(error)

    def _signed_anew(self, request: PreparedRequest) -> PreparedRequest:
        """Replace `Authorization`, and the hook of whoever set it, by public names alone."""
        request.headers["Authorization"] = self._header()
        others = [hook for hook in request.hooks["response"] if not isinstance(hook, Hook)]
        # first, so that hooks of the caller's own see the answer to the replay
        request.hooks["response"] = [self._handler, *others]
        return request

    def _admits(self, url: str) -> bool:
        """Whether the token goes to `url`, if its beginning alone does not say so.

        Raises:
            InsecureURL: it is an `http://` URL on loopback, and a proxy would receive the token.
        """
        if not url.startswith(self._loopback):
            if origin_of(url) not in self.origins:
                self._warn_of(url)
                return False
            if not urls.is_plain_loopback(url):
                return True
        if proxies.in_environment(url):
            raise requests_errors.for_requests(
                InsecureURL(
                    f"the token for {origin_of(url)} would go to a proxy in plain text: exclude "
                    f"this host from the proxies of the environment ({proxies.exclusion_of(url)})"
                )
            )
        return True

    def _warn_of(self, url: str) -> None:
        # what is not a URL cannot be sent either, and that is for `requests` to say
        if (origin := origin_of(url)) is not None:
            ours = ", ".join(sorted(self.origins))
            self._handler.warn(origin, f"no token is sent to {origin}: it is not one of {ours}")


class _NeverFresh:
    """Stands for a renewer whose snapshot never is fresh."""

    snapshot: Snapshot = EMPTY


_never_fresh = _NeverFresh()


def _token_url(manager: TokenManager) -> str:
    # a key may ask callables for the user name, which is not to happen before the first grant
    url: object = getattr(manager.grant, "token_url", None)
    return url if isinstance(url, str) else manager.grant.key.token_url
