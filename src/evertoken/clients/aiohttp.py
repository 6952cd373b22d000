"""`bearer_auth` for aiohttp: a client middleware (extra: `aiohttp`)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Unpack

from evertoken import adapters
from evertoken.bearer import Bearer, require_known
from evertoken.client_errors import Family
from evertoken.clients.cookies import with_cookies
from evertoken.clients.exchange import Answer, Read, Send, exchange
from evertoken.errors import TokenError, discreet
from evertoken.runtime import extras, tasks
from evertoken.runtime.waiters import Wait

with extras.needed("evertoken.clients.aiohttp", "aiohttp"):
    import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

    from evertoken.bearer import BearerOptions
    from evertoken.engine.manager import TokenManager

FAMILY = Family(__name__, aiohttp.ClientError, {})


@discreet
def bearer_auth(
    manager: TokenManager, **options: Unpack[BearerOptions[ClientResponse]]
) -> ClientMiddlewareType:
    """A middleware for `aiohttp.ClientSession` that sends the manager's token to its origins.

    Options and behaviour are those of `evertoken.BearerAuth`. A task that waits for a token does
    not block its event loop. aiohttp calls its middlewares for each hop of a redirect, so the URL
    of each hop decides whether it gets the token. The differences:

    - A rejected request whose body is a stream is not sent again.
    - `is_unauthorized` gets responses whose body has been read, so it does not suit streaming.
    - Errors of this middleware are an `aiohttp.ClientError` as well as a `TokenError`.

    ```python
    import asyncio
    import aiohttp
    from evertoken import squadrun
    from evertoken.clients.aiohttp import bearer_auth

    auth = bearer_auth(squadrun.manager(), origins=["https://api.example.com"])


    async def things():
        async with aiohttp.ClientSession(middlewares=[auth]) as session:
            async with session.get("https://api.example.com/things") as response:
                return await response.json()


    asyncio.run(things())
    ```
    """
    require_known("bearer_auth", options)
    return _Middleware(Bearer.of(manager, **options))


class _Middleware:
    """What `bearer_auth` returns."""

    __slots__ = ("_bearer",)

    def __init__(self, bearer: Bearer[ClientResponse]) -> None:
        self._bearer = bearer

    def __call__(
        self, request: ClientRequest, handler: ClientHandlerType | None = None
    ) -> Coroutine[None, None, ClientResponse]:
        # other clients call an auth with the request alone
        if handler is None or not isinstance(request, aiohttp.ClientRequest):
            raise adapters.wrong_client(request, "aiohttp")
        return self._sent(request, handler)

    async def _sent(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        try:
            return await _sent(self._bearer, request, handler)
        except TokenError as raised:
            error = raised.again()
        # outside the except block: `raised` would become its context
        raise FAMILY.of(error)

    def __repr__(self) -> str:
        bearer = self._bearer
        return f"bearer_auth({bearer.manager!r}, origins={sorted(bearer.origins.names)})"

    def __reduce__(self) -> tuple[Callable[[], ClientMiddlewareType], tuple[()]]:
        return self._bearer.remade_by(bearer_auth)


async def _sent(
    bearer: Bearer[ClientResponse], request: ClientRequest, handler: ClientHandlerType
) -> ClientResponse:
    client, last = _Client(request), None
    try:
        with contextlib.closing(exchange(bearer, client, request)) as steps:
            answer: ClientResponse | None = None
            while True:
                try:
                    step = steps.send(answer)
                except StopIteration as end:
                    response: ClientResponse = end.value
                    return response
                answer = None
                match step:
                    case Send():
                        answer = last = await handler(step.request)
                    case Wait():
                        await tasks.pause(step)
                    case Read():
                        await step.response.read()
    except BaseException:
        # a task that is cancelled while it waits: aiohttp does not know of this answer yet
        if last is not None:
            last.close()
        raise


class _Client:
    """Adapts aiohttp to an exchange; one object per request."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request

    def url(self, request: ClientRequest) -> str:
        return str(request.url)

    def is_proxied(self, url: str) -> bool:
        # of the session, of the call, or of the environment with `trust_env`
        del url
        return self._request.proxy is not None

    def sign(self, request: ClientRequest, header: str) -> None:
        request.headers["Authorization"] = header

    def answer(self, response: ClientResponse) -> Answer:
        request = self._request
        challenge = response.headers.get("WWW-Authenticate", "")
        sent = request.headers.get("Authorization")
        return Answer(response.status, str(request.url), sent, challenge)

    def repeated(self, response: ClientResponse, header: str) -> ClientRequest | None:
        if not _is_kept(self._request.body):
            return None
        response.release()
        self.sign(self._request, header)
        self._take_cookies(response)
        return self._request

    def _take_cookies(self, response: ClientResponse) -> None:
        """Add the cookies that `response` set to those of the request, and to the session's."""
        if not response.cookies:
            return
        # aiohttp keeps only those of the answer that the caller gets
        self._request.session.cookie_jar.update_cookies(response.cookies, response.url)
        # unsafe: accept cookies of hosts that are IP addresses too
        jar = aiohttp.CookieJar(unsafe=True)
        jar.update_cookies(response.cookies, response.url)
        request = self._request
        found = jar.filter_cookies(request.url)
        cookies = {name: morsel.coded_value for name, morsel in found.items()}
        request.headers["Cookie"] = with_cookies(request.headers.get("Cookie", ""), cookies)


def _is_kept(body: object) -> bool:
    """Whether `body` can be sent twice."""
    if isinstance(body, aiohttp.MultipartWriter):
        return not body.consumed and all(_is_kept(part) for part, *_ in body)
    if not isinstance(body, aiohttp.Payload):
        return True
    # the file has no public name; without it, a closed one makes the client raise
    file = getattr(body, "_value", None)
    is_gone = body.consumed or getattr(file, "closed", False)
    return not is_gone and not isinstance(body, aiohttp.AsyncIterablePayload)


# a type checker would accept any name of this module
if not TYPE_CHECKING:

    def __getattr__(name: str) -> type[TokenError]:
        return FAMILY.named(name)
