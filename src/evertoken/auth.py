"""BearerAuth: adds the token to requests for its origins, and replays a request after a 401."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, TypeVar

from requests.auth import AuthBase

from evertoken import proxies
from evertoken.bearer import BEARER
from evertoken.core.state import EMPTY
from evertoken.errors import TokenError, discreet
from evertoken.hooks import Handler, Hook
from evertoken.runtime import waiters
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from requests import PreparedRequest, Response

    from evertoken import adapters, requests_errors
    from evertoken.core.state import Snapshot
    from evertoken.engine.manager import TokenManager
    from evertoken.engine.renewer import Renewer
else:
    # most processes never need these
    adapters, requests_errors = lazy("evertoken.adapters"), lazy("evertoken.requests_errors")

T = TypeVar("T")


class BearerAuth(AuthBase):
    """`requests` authentication with the manager's token, bound to its origins.

    It replaces an `Authorization` header of the request or the session, as `requests` documents for
    `auth=`. A request to any other origin is not changed, and is logged once per origin (the last
    1,024 are remembered). A redirect between two of the origins keeps the token; any other drops
    it.

    If the API's answer means that the token is dead, the token is renewed and the request is sent
    once more with the same body. If the body cannot be read again, or no other token is available,
    the caller gets that answer. An adapter with `Retry(status_forcelist=[401])` hides the answer
    from this class, and sends the dead token again.

    A request to an `http://` origin on loopback raises `InsecureURL` if the environment sets a
    proxy for it, since the token would leave the machine in plain text. A proxy of the session is
    only known once the request has been sent; it is logged as a warning.

    ```python
    import requests
    from evertoken import BearerAuth, squadrun

    session = requests.Session()
    session.auth = BearerAuth(
        squadrun.manager(),
        origins=["https://api.example.com"],
        # an API that answers 200 with an error in the body
        is_unauthorized=lambda response: response.json().get("error") == "token_expired",
    )
    ```

    Args:
        manager: provides the token.
        origins: URLs whose scheme, host and port receive the token; None: the origin of the token
            URL.
        retry_statuses: statuses that mean that the token is dead; `()` for none.
        is_unauthorized: a predicate on responses of these origins with any other status: whether
            the token is dead. It may read the body, even with `stream=True`. If it raises, the
            caller gets the response, and a warning is logged once per kind of exception.
        scheme: the word before the token in `Authorization`, for APIs that expect `Token`, for
            example.
        allow_http: allow `http://` origins beyond loopback, where the token travels in plain text.

    Raises:
        InsecureURL: an origin is not an https URL.
        ValueError: there is no origin and the grant has no token URL, or `scheme` is not one word.
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
        self._handler = handler = Handler.of(
            manager,
            origins=origins,
            retry_statuses=retry_statuses,
            is_unauthorized=is_unauthorized,
            scheme=scheme,
            allow_http=allow_http,
        )
        self.manager: TokenManager = manager
        self.retry_statuses: tuple[int, ...] = handler.retry_statuses
        self.is_unauthorized: Callable[[Response], object] | None = is_unauthorized
        self.scheme: str = scheme
        self.allow_http: bool = allow_http
        self.origins: tuple[str, ...] = handler.origins.names
        # copied here because each request reads them
        self._prefixes, self._loopback = handler.origins.prefixes, handler.origins.loopback
        # A snapshot's header has the scheme Bearer; for another scheme `_header` is always called.
        self._renewer: Renewer | _NeverFresh = manager.renewer if scheme == BEARER else _never_fresh

    def __call__(self, request: PreparedRequest, *_others: object) -> PreparedRequest:
        """Set `Authorization` (RFC 6750 section 2.1); waits only if no token is usable.

        Raises:
            InsecureURL: a proxy would receive the token of an `http://` origin on loopback.
            TokenError: no token is available; see `TokenManager.token`.
            TypeError: the request belongs to another HTTP client; the error names its adapter.

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
            or _for_requests(functools.partial(self._handler.admits, url))
        ):
            return request
        # The public `in` test raises and catches an exception, which costs more than all the rest.
        try:
            fields = request.headers._store  # noqa: SLF001  see above
        except AttributeError:
            fields = None
        # outside the except block: an exception raised in it would get a context
        if fields is None or "authorization" in fields:
            return self._replace_auth(request)
        snapshot = self._renewer.snapshot
        if snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            # what `headers[…] = …` does, without the call
            fields["authorization"] = ("Authorization", snapshot.header)
        else:
            request.headers["Authorization"] = self._header(request)
        hooks = request.hooks
        # a new list, since append() over-allocates, which costs a tenth of the whole path
        hooks["response"] = [self._handler, *hooks["response"]]
        return request

    def __repr__(self) -> str:
        return f"BearerAuth({self.manager!r}, origins={sorted(self.origins)})"

    def __reduce__(self) -> tuple[Callable[[], BearerAuth], tuple[()]]:
        return self._handler.remade_by(type(self))

    def _header(self, request: PreparedRequest) -> str:
        # its requests have all that those of `requests` have
        if type(request).__module__.startswith("niquests."):
            raise adapters.wrong_client(request)
        return _for_requests(lambda: waiters.run(self._handler.header_flow()))

    def _replace_auth(self, request: PreparedRequest) -> PreparedRequest:
        """Replace the header and the hook of an earlier auth, using only public names."""
        request.headers["Authorization"] = self._header(request)
        others = [hook for hook in request.hooks["response"] if not isinstance(hook, Hook)]
        # first, so that the caller's own hooks see the answer to the replay
        request.hooks["response"] = [self._handler, *others]
        return request


class _NeverFresh:
    """A stand-in for a renewer whose snapshot is never fresh."""

    snapshot: Snapshot = EMPTY


_never_fresh = _NeverFresh()


def _for_requests(call: Callable[[], T]) -> T:
    """What `call` returns; a `TokenError` that it raises is a `requests.RequestException` too."""
    try:
        return call()
    except TokenError as raised:
        error = raised.again()
    # outside the except block: `raised` would become its context
    raise requests_errors.for_requests(error)
