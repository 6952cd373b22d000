"""The common auth of httpx and httpx2, which have the same interface."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Protocol, TypeVar, Unpack

from evertoken import adapters, proxies
from evertoken.bearer import Bearer, require_known
from evertoken.clients.cookies import pairs_of, with_cookies
from evertoken.clients.exchange import Answer, Read, Send, exchange
from evertoken.errors import TokenError, discreet
from evertoken.runtime import tasks
from evertoken.runtime.waiters import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, MutableMapping

    from evertoken.bearer import BearerOptions
    from evertoken.client_errors import Family
    from evertoken.engine.manager import TokenManager


class Request(Protocol):
    """A request of either client."""

    @property
    def url(self) -> object:
        """Where it goes."""

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Its header fields."""

    def read(self) -> bytes:
        """Its body, from then on kept."""


class Response(Protocol):
    """A response of either client."""

    @property
    def status_code(self) -> int:
        """Its status."""

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Its header fields."""

    @property
    def request(self) -> Any:
        """The answered request."""

    @property
    def cookies(self) -> Any:
        """The cookies that it sets."""

    def read(self) -> bytes:
        """Its body."""

    async def aread(self) -> bytes:
        """Its body."""


RequestT = TypeVar("RequestT", bound=Request)
ResponseT = TypeVar("ResponseT", bound=Response)


class HttpxAuth(Generic[RequestT, ResponseT]):
    """The part of `BearerAuth` that is the same for both clients."""

    client: ClassVar[Any]
    """The client's module."""

    family: ClassVar[Family]
    """The client's errors."""

    @discreet
    def __init__(self, manager: TokenManager, **options: Unpack[BearerOptions[ResponseT]]) -> None:
        require_known("BearerAuth", options)
        self.manager = manager
        self._bearer: Bearer[ResponseT] = Bearer.of(manager, **options)

    def sync_auth_flow(self, request: RequestT) -> Generator[RequestT, ResponseT, None]:
        """Yield `request` with the token, then the requests that follow from its response."""
        with contextlib.closing(exchange(self._bearer, self, request)) as steps:
            answer: ResponseT | None = None
            while (step := self._next(steps, answer)) is not None:
                answer = None
                if isinstance(step, Send):
                    answer = yield step.request
                elif isinstance(step, Wait):
                    step.block()
                else:
                    step.response.read()

    async def async_auth_flow(self, request: RequestT) -> AsyncGenerator[RequestT, ResponseT]:
        """Like `sync_auth_flow`, without blocking the event loop."""
        with contextlib.closing(exchange(self._bearer, self, request)) as steps:
            answer: ResponseT | None = None
            while (step := self._next(steps, answer)) is not None:
                answer = None
                if isinstance(step, Send):
                    answer = yield step.request
                elif isinstance(step, Wait):
                    await tasks.pause(step)
                else:
                    await step.response.aread()

    def _next(
        self,
        steps: Generator[Wait | Send[RequestT] | Read[ResponseT], ResponseT | None, ResponseT],
        answer: ResponseT | None,
    ) -> Wait | Send[RequestT] | Read[ResponseT] | None:
        """The next step, or None at the end. Raises errors of the client's family."""
        try:
            return steps.send(answer)
        except StopIteration:
            return None
        except TokenError as raised:
            error = raised.again()
        # outside the except block: `raised` would become its context
        raise self.family.of(error)

    # -- what an exchange needs to know ------------------------------------------------------------

    def url(self, request: RequestT) -> str:
        """Where `request` goes."""
        return str(request.url)

    def is_proxied(self, url: str) -> bool:
        """Whether the environment has a proxy for `url`; one that a client was given is unknown."""
        return proxies.in_environment_by_text(url)

    def sign(self, request: RequestT, header: str) -> None:
        """Set its `Authorization`."""
        request.headers["Authorization"] = header

    def answer(self, response: ResponseT) -> Answer:
        """The parts of `response` that decide."""
        return Answer(
            response.status_code,
            str(response.request.url),
            response.request.headers.get("Authorization"),
            response.headers.get("WWW-Authenticate", ""),
        )

    def repeated(self, response: ResponseT, header: str) -> RequestT | None:
        """The request of `response` with another `Authorization`; None if its body is consumed."""
        sent = response.request
        if not self._is_kept(sent.stream):
            return None
        # a new request, so that `history` shows what was sent before
        again: RequestT = type(sent)(
            sent.method,
            sent.url,
            headers=sent.headers.copy(),
            stream=sent.stream,
            extensions=sent.extensions,
        )
        if isinstance(sent.stream, self.client.ByteStream):
            # otherwise `response.request.content` would raise
            again.read()
        self.sign(again, header)
        self._take_cookies(again, response)
        return again

    def _is_kept(self, stream: object) -> bool:
        """Whether a body can be sent twice: it is in memory or in files that can be rewound."""
        if isinstance(stream, self.client.ByteStream):
            return True
        files = [getattr(field, "file", b"") for field in getattr(stream, "fields", ())]
        return bool(files) and all(
            isinstance(file, bytes | str) or _can_rewind(file) for file in files
        )

    def _take_cookies(self, request: RequestT, response: ResponseT) -> None:
        """Add the cookies that `response` set to those of the request."""
        if not response.cookies:
            return
        sent = request.headers.pop("Cookie", "")
        self.client.Cookies(response.cookies).set_cookie_header(request)
        set_now = pairs_of(request.headers.get("Cookie", ""))
        request.headers["Cookie"] = with_cookies(sent, set_now)

    def __call__(self, request: object, *_others: object) -> NoReturn:
        """Say that this auth was given to another client."""
        raise adapters.wrong_client(request, self.client.__name__)

    def __repr__(self) -> str:
        return f"BearerAuth({self.manager!r}, origins={sorted(self._bearer.origins.names)})"

    def __reduce__(self) -> tuple[Callable[[], HttpxAuth[RequestT, ResponseT]], tuple[()]]:
        return self._bearer.remade_by(type(self))


def _can_rewind(file: Any) -> bool:
    # the client itself rewinds it before it reads it
    try:
        return bool(file.seekable())
    except (AttributeError, ValueError):
        # ValueError: it was closed meanwhile
        return False
