"""`bearer_auth` for aiohttp: a client middleware (extra: `aiohttp`)."""

from __future__ import annotations

import contextlib
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

from evertoken.bearer import BEARER, Bearer
from evertoken.client_errors import Family
from evertoken.clients.exchange import Answer, Read, Send, exchange
from evertoken.errors import TokenError, discreet
from evertoken.runtime import extras, tasks
from evertoken.runtime.waiters import Wait

with extras.needed("evertoken.clients.aiohttp", "aiohttp"):
    import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

    from evertoken.engine.manager import TokenManager

FAMILY = Family(__name__, aiohttp.ClientError, {})


@discreet
def bearer_auth(
    manager: TokenManager,
    *,
    origins: Iterable[str] | None = None,
    retry_statuses: Collection[int] = (401,),
    is_unauthorized: Callable[[ClientResponse], object] | None = None,
    scheme: str = BEARER,
    allow_http: bool = False,
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
    bearer: Bearer[ClientResponse] = Bearer.of(
        manager,
        origins=origins,
        retry_statuses=retry_statuses,
        is_unauthorized=is_unauthorized,
        scheme=scheme,
        allow_http=allow_http,
    )

    async def middleware(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        try:
            return await _sent(bearer, request, handler)
        except TokenError as raised:
            error = raised.again()
        # outside the except block: `raised` would become its context
        raise FAMILY.of(error)

    return middleware


async def _sent(
    bearer: Bearer[ClientResponse], request: ClientRequest, handler: ClientHandlerType
) -> ClientResponse:
    client = _Client(request)
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
                    answer = await handler(step.request)
                case Wait():
                    await tasks.pause(step)
                case Read():
                    await step.response.read()


class _Client:
    """Adapts aiohttp to an exchange; one object per request."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request

    def url(self, request: ClientRequest) -> str:
        return str(request.url)

    def sign(self, request: ClientRequest, header: str) -> None:
        request.headers["Authorization"] = header

    def answer(self, response: ClientResponse) -> Answer:
        request = self._request
        challenge = response.headers.get("WWW-Authenticate", "")
        sent = request.headers.get("Authorization")
        return Answer(response.status, str(request.url), sent, challenge)

    def repeated(self, response: ClientResponse, header: str) -> ClientRequest | None:
        body = self._request.body
        if isinstance(body, aiohttp.Payload) and (
            body.consumed or isinstance(body, aiohttp.AsyncIterablePayload)
        ):
            return None
        response.release()
        self.sign(self._request, header)
        self._take_cookies(response)
        return self._request

    def _take_cookies(self, response: ClientResponse) -> None:
        """Add the cookies that `response` set to those of the request."""
        if not response.cookies:
            return
        # unsafe: accept cookies of hosts that are IP addresses too
        jar = aiohttp.CookieJar(unsafe=True)
        jar.update_cookies(response.cookies, response.url)
        request = self._request
        cookies = SimpleCookie(request.headers.get("Cookie", ""))
        cookies.update(jar.filter_cookies(request.url))
        request.headers["Cookie"] = cookies.output(attrs=[], header="", sep=";").strip()


if not TYPE_CHECKING:

    def __getattr__(name: str) -> type[TokenError]:
        return FAMILY.named(name)
