"""`BearerAuth` and `AsyncBearerAuth` for niquests (extra: `niquests`)."""

from __future__ import annotations

import contextlib
import inspect
import weakref
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from evertoken import adapters, replay, urls
from evertoken.bearer import Bearer, require_known
from evertoken.client_errors import Family
from evertoken.clients.exchange import Answer, Read, Send, settled
from evertoken.errors import TokenError, discreet
from evertoken.runtime import extras, tasks, waiters
from evertoken.runtime.waiters import Wait

with extras.needed("evertoken.clients.niquests", "niquests"):
    import niquests
    from niquests.cookies import extract_cookies_to_jar, get_cookie_header
    from niquests.utils import get_environ_proxies, select_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from niquests import PreparedRequest, Response

    from evertoken.bearer import BearerOptions
    from evertoken.engine.manager import TokenManager
    from evertoken.runtime.waiters import Flow

    _Steps = Generator[Wait | Send[PreparedRequest] | Read[Response], Response | None, Response]

T = TypeVar("T")

FAMILY = Family(__name__, niquests.RequestException, {"request": None, "response": None})


class _Auth:
    """The part that is the same for both kinds of session."""

    @discreet
    def __init__(self, manager: TokenManager, **options: Unpack[BearerOptions[Response]]) -> None:
        require_known("BearerAuth", options)
        self.manager = manager
        self._bearer: Bearer[Response] = Bearer.of(manager, **options)

    def _header_flow(self, request: PreparedRequest) -> Flow[str | None]:
        """The value of `Authorization` for `request`; None: it gets no token."""
        if not isinstance(request, niquests.PreparedRequest):
            raise adapters.wrong_client(request, "niquests")
        if not self._bearer.admits(request.url or "", _CLIENT.is_proxied):
            return None
        return (yield from self._bearer.header_flow())

    def _signed(
        self, request: PreparedRequest, header: str | None, hook: Callable[..., object]
    ) -> PreparedRequest:
        if header is not None:
            request.headers["Authorization"] = header
            # first, so that the caller's own hooks see the answer to the replay
            others = [it for it in request.hooks["response"] if not _is_ours(it)]
            request.hooks["response"] = [hook, *others]
        return request

    def __repr__(self) -> str:
        origins = sorted(self._bearer.origins.names)
        return f"{type(self).__name__}({self.manager!r}, origins={origins})"

    def __reduce__(self) -> tuple[Callable[[], _Auth], tuple[()]]:
        return self._bearer.remade_by(type(self))


class BearerAuth(_Auth):
    """`auth=` of `niquests.Session`, bound to the token's origins.

    Options and behaviour are those of `evertoken.BearerAuth`. What differs:

    - niquests drops the token on a redirect to another origin, but for one from `http://` to
      `https://` on the same host. If that is one of `origins` and refuses the request, the request
      is sent there once more, with the token.
    - An answer that refuses the token is not read before the replay if it is larger than 64 KiB or
      of unknown length; its connection is closed.
    - A session with `multiplexed=True` is not for this auth: its answers come later.
    - Errors of this auth are a `niquests.RequestException` as well as a `TokenError`.

    ```python
    import niquests
    from evertoken import squadrun
    from evertoken.clients.niquests import BearerAuth

    with niquests.Session() as session:
        session.auth = BearerAuth(squadrun.manager(), origins=["https://api.example.com"])
        session.get("https://api.example.com/things")
    ```
    """

    def __call__(self, request: PreparedRequest, *_others: object) -> PreparedRequest:
        """Set `Authorization` (RFC 6750 section 2.1); waits only if no token is usable.

        Raises:
            TokenError: as `evertoken.BearerAuth` says.
        """
        header = _in_family(lambda: waiters.run(self._header_flow(request)))
        return self._signed(request, header, _Call(self._bearer, request))


class AsyncBearerAuth(_Auth):
    """`auth=` of `niquests.AsyncSession`: as `BearerAuth`, and holds no event loop.

    A `niquests.Session` never calls an asynchronous auth: its requests would have no token. Nor
    does `AsyncSession.prepare_request`: only `request` and its relatives await it.

    ```python
    import asyncio
    import niquests
    from evertoken import squadrun
    from evertoken.clients.niquests import AsyncBearerAuth


    async def main() -> None:
        async with niquests.AsyncSession() as session:
            session.auth = AsyncBearerAuth(squadrun.manager(), origins=["https://api.example.com"])
            await session.get("https://api.example.com/things")


    asyncio.run(main())
    ```
    """

    async def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """As `BearerAuth`, without blocking the event loop."""
        try:
            header = await tasks.run(self._header_flow(request))
        except TokenError as raised:
            error = raised.again()
        else:
            # niquests awaits a method, but not an object that has one
            return self._signed(request, header, _AsyncCall(self._bearer, request).__call__)
        # outside the except block: `raised` would become its context
        raise FAMILY.of(error)


class _Nothing:
    """The response hook of a pickled request: it does nothing."""

    __slots__ = ()

    def __call__(self, response: Response, **_kwargs: Any) -> Response:
        return response


class _Call(_Nothing):
    """The response hook of one call, with at most one replay; all hops of a redirect share it."""

    __slots__ = ("_bearer", "_first", "_spent")

    def __init__(self, bearer: Bearer[Response], first: PreparedRequest) -> None:
        self._bearer = bearer
        # weak: the request holds this hook, and a cycle would keep its body
        self._first = weakref.ref(first)
        self._spent: set[bool] = set()

    def __call__(self, response: Response, **kwargs: Any) -> Response:
        """Return the answer that the caller gets; `kwargs` tell how the request was sent."""
        if inspect.iscoroutinefunction(response.connection.send):
            raise TypeError(f"{__name__}.BearerAuth is for Session: use AsyncBearerAuth")
        with contextlib.closing(self._steps(response)) as steps:
            answer: Response | None = None
            while (step := _next(steps, answer)) is not None:
                answer = None
                if isinstance(step, Send):
                    if _is_small(response):
                        response.content  # noqa: B018  reads it, so that its connection is reused
                    response.close()
                    answer = response.connection.send(step.request, **_again(step.request, kwargs))
                    answer.history = [*response.history, response]
                    response = answer
                elif isinstance(step, Wait):
                    step.block()
                else:
                    response.content  # noqa: B018  reads it
        return response

    def _steps(self, response: Response) -> _Steps:
        if response.request is self._first():
            # the caller has sent the same prepared request again, which is a new call
            self._spent.clear()
        return settled(self._bearer, _CLIENT, response, self._spent)

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[_Nothing], tuple[()]]:
        # a response pickles with its request and its hooks; the manager must not be included
        return _Nothing, ()


class _AsyncCall(_Call):
    """The same for a task."""

    __slots__ = ()

    async def __call__(self, response: Any, **kwargs: Any) -> Any:
        """As for a thread, without blocking the event loop."""
        with contextlib.closing(self._steps(response)) as steps:
            kind, answer = type(response), None
            while (step := _next(steps, answer)) is not None:
                answer, response.__class__ = None, kind
                if isinstance(step, Send):
                    if _is_small(response):
                        await response.content
                    await response.close()
                    answer = await response.connection.send(
                        step.request, **_again(step.request, kwargs)
                    )
                    answer.history = [*response.history, response]
                    response = answer
                elif isinstance(step, Wait):
                    await tasks.pause(step)
                else:
                    await response.content
                    # a predicate looks at it as at any other response
                    response.__class__ = niquests.Response
            response.__class__ = kind
        return response


class _Client:
    """What an exchange needs to know of niquests."""

    def url(self, request: PreparedRequest) -> str:
        return request.url or ""

    def is_proxied(self, url: str) -> bool:
        # with its own functions: it reads the environment once for each process
        return bool(select_proxy(url, get_environ_proxies(url)))

    def sign(self, request: PreparedRequest, header: str) -> None:
        request.headers["Authorization"] = header

    def answer(self, response: Response) -> Answer:
        request = response.request
        sent = request.headers.get("Authorization")
        challenge = response.headers.get("WWW-Authenticate", "")
        return Answer(response.status_code, request.url or "", sent, challenge)

    def repeated(self, response: Response, header: str) -> PreparedRequest | None:
        request = response.request
        if inspect.iscoroutinefunction(getattr(request.body, "seek", None)):
            return None
        if not replay.rewind(request):
            return None
        # `history` shows what was sent before; the hops of a redirect are made of `request` itself
        response.request = request.copy()
        self.sign(request, header)
        _take_cookies(request, response)
        return request


_CLIENT = _Client()


def _take_cookies(request: PreparedRequest, response: Response) -> None:
    """Send the cookies that `response` set; a `Cookie` header of the caller's is left alone."""
    # it has no public name: without it, the replay has the cookies of the first request
    jar = getattr(request, "_cookies", None)
    if jar is None or "Set-Cookie" not in response.headers:
        return
    sent = request.headers.pop("Cookie", "")
    if sent != (get_cookie_header(jar, request) or ""):
        request.headers["Cookie"] = sent
        return
    extract_cookies_to_jar(jar, response.request, response.raw)
    request.prepare_cookies(jar)


def _is_ours(hook: object) -> bool:
    return isinstance(getattr(hook, "__self__", hook), _Nothing)


def _is_small(response: Response) -> bool:
    """Whether reading a refused answer costs less than another connection."""
    length = response.headers.get("Content-Length", "")
    return length.isdecimal() and int(length) <= replay.DRAINED


def _again(request: PreparedRequest, kwargs: dict[str, Any]) -> dict[str, Any]:
    """How to send `request`: as the first one, but past a proxy that may not see the token."""
    if urls.is_plain_loopback(request.url or ""):
        return {**kwargs, "proxies": {}}
    return kwargs


def _next(
    steps: _Steps, answer: Response | None
) -> Wait | Send[PreparedRequest] | Read[Response] | None:
    """The next step; None at the end."""
    try:
        return _in_family(lambda: steps.send(answer))
    except StopIteration:
        return None


def _in_family(call: Callable[[], T]) -> T:
    """What `call` returns; a `TokenError` that it raises is a `niquests.RequestException` too."""
    try:
        return call()
    except TokenError as raised:
        error = raised.again()
    # outside the except block: `raised` would become its context
    raise FAMILY.of(error)


# a type checker would accept any name of this module
if not TYPE_CHECKING:

    def __getattr__(name: str) -> type[TokenError]:
        return FAMILY.named(name)
