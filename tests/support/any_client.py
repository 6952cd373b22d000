"""One interface to HTTP clients, so that one suite tests the auth of each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import aiohttp
import httpx
import httpx2
import requests

import evertoken.clients.aiohttp
import evertoken.clients.httpx
import evertoken.clients.httpx2
from evertoken import BearerAuth

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from evertoken import TokenManager

TIMEOUT = 20


class Reply(NamedTuple):
    """The caller's result.

    Attributes:
        status: the status.
        body: the whole body.
    """

    status: int
    body: bytes


class AnyClient(Protocol):
    """Sends requests with the auth for one HTTP client."""

    @property
    def family(self) -> type[Exception]:
        """The client's base error."""

    def auth(self, manager: TokenManager, **options: Any) -> Any:
        """The auth for this client."""

    def send(
        self,
        auth: Any,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        stream: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send one request, following redirects; `stream`: the body can be read only once."""


class Requests:
    family = requests.RequestException

    def auth(self, manager: TokenManager, **options: Any) -> Any:
        return BearerAuth(manager, **options)

    def send(
        self,
        auth: Any,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        stream: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        data = parts(body) if stream else body
        answer = requests.request(
            method, url, auth=auth, data=data, headers=headers, timeout=TIMEOUT
        )
        return Reply(answer.status_code, answer.content)


class Httpx:
    """httpx or httpx2, in a thread."""

    def __init__(self, module: Any, auths: Any) -> None:
        self.module = module
        self.auths = auths
        self.family = module.HTTPError

    def auth(self, manager: TokenManager, **options: Any) -> Any:
        return self.auths.BearerAuth(manager, **options)

    def send(
        self,
        auth: Any,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        stream: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        content = parts(body) if stream else body
        with self.module.Client(auth=auth, timeout=TIMEOUT, follow_redirects=True) as client:
            answer = client.request(method, url, content=content, headers=headers)
            return Reply(answer.status_code, answer.content)


class AsyncHttpx(Httpx):
    """httpx or httpx2, in a task."""

    def send(
        self,
        auth: Any,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        stream: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        async def sent() -> Reply:
            content = async_parts(body) if stream else body
            client = self.module.AsyncClient(auth=auth, timeout=TIMEOUT, follow_redirects=True)
            async with client:
                answer = await client.request(method, url, content=content, headers=headers)
                return Reply(answer.status_code, answer.content)

        return asyncio.run(sent())


class Aiohttp:
    family = aiohttp.ClientError

    def auth(self, manager: TokenManager, **options: Any) -> Any:
        return evertoken.clients.aiohttp.bearer_auth(manager, **options)

    def send(
        self,
        auth: Any,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        stream: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        async def sent() -> Reply:
            data = async_parts(body) if stream else body
            async with (
                aiohttp.ClientSession(middlewares=[auth]) as session,
                session.request(method, url, data=data, headers=headers) as answer,
            ):
                return Reply(answer.status, await answer.read())

        return asyncio.run(sent())


def parts(body: bytes | None) -> Iterator[bytes]:
    """A body that can be read only once."""
    yield body or b""


async def async_parts(body: bytes | None) -> AsyncIterator[bytes]:
    """The same body for a task."""
    yield body or b""


CLIENTS: dict[str, Callable[[], AnyClient]] = {
    "requests": Requests,
    "httpx": lambda: Httpx(httpx, evertoken.clients.httpx),
    "httpx-async": lambda: AsyncHttpx(httpx, evertoken.clients.httpx),
    "httpx2": lambda: Httpx(httpx2, evertoken.clients.httpx2),
    "httpx2-async": lambda: AsyncHttpx(httpx2, evertoken.clients.httpx2),
    "aiohttp": Aiohttp,
}
