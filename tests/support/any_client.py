"""One interface to HTTP clients, so that one suite tests the auth of each."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import requests

from evertoken import BearerAuth

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import IO

    from evertoken import TokenManager

TIMEOUT = 20

# one for all clients: each of its own would load the certificates, in 0.2 s
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Call(NamedTuple):
    """One request.

    Attributes:
        method: its method.
        url: its URL.
        body: its body.
        stream: whether the body is given as one that can be read only once.
        file: uploaded as the field `file` of a form, instead of `body`.
        headers: its header fields.
    """

    method: str
    url: str
    body: bytes | None = None
    stream: bool = False
    file: IO[bytes] | None = None
    headers: dict[str, str] | None = None

    @property
    def files(self) -> dict[str, IO[bytes]] | None:
        """`files=` of requests and of httpx."""
        return None if self.file is None else {"file": self.file}


class Reply(NamedTuple):
    """The caller's result.

    Attributes:
        status: the status.
        body: the whole body.
        history: the `Authorization` of each request whose answer the client keeps as history.
        resent: the body that the client shows for the last request; None: it shows none.
    """

    status: int
    body: bytes
    history: list[str | None]
    resent: bytes | None = None


class AnyClient(ABC):
    """Sends requests with an auth of its own kind.

    Attributes:
        package: the client's.
        auth_name: what its auth is called in errors.
        family: the base of all errors of the client.
        keeps_history: whether its responses show the one that was replayed.
        drops_the_token: whether it sends none on a redirect to another of the origins, so that one
            is sent only once the origin has refused the request.
        joins_cookies: whether a replay has new cookies beside a `Cookie` header of the caller's.
    """

    package: str
    auth_name: str
    family: type[Exception]
    keeps_history = True
    drops_the_token = False
    joins_cookies = True

    @abstractmethod
    def auth(self, manager: TokenManager, **options: Any) -> Any:
        """The auth for this client."""

    @abstractmethod
    def sent(self, auth: Any, call: Call) -> Reply:
        """Send one request, following redirects."""

    async def sent_in_task(self, auth: Any, call: Call) -> Reply:
        """The same, if the client is an asynchronous one."""
        raise NotImplementedError

    @abstractmethod
    def status_of_stream(self, auth: Any, url: str) -> int:
        """The status of a streamed response, whose body is not read."""

    def send(
        self,
        auth: Any,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        stream: bool = False,
        file: IO[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send `Call(…)`."""
        return self.sent(auth, Call(method, url, body, stream, file, headers))


class Requests(AnyClient):
    """Of requests, or of niquests, which has the same interface."""

    package = "requests"
    auth_name = "evertoken.BearerAuth"
    joins_cookies = False

    def __init__(self, module: Any = requests, auth: Any = BearerAuth) -> None:
        self.module = module
        self.kind = auth
        self.family = module.RequestException

    def auth(self, manager: TokenManager, **options: Any) -> Any:
        return self.kind(manager, **options)

    def sent(self, auth: Any, call: Call) -> Reply:
        answer = self.module.request(
            call.method,
            call.url,
            auth=auth,
            data=parts(call.body) if call.stream else call.body,
            files=call.files,
            headers=call.headers,
            timeout=TIMEOUT,
        )
        return reply_of(answer, answer.request.body)

    def status_of_stream(self, auth: Any, url: str) -> int:
        with self.module.Session() as session:
            answer = session.get(url, auth=auth, timeout=TIMEOUT, stream=True)
            status: int = answer.status_code
            answer.close()
            return status


class AsyncNiquests(Requests):
    """Of niquests, in a task."""

    package = "niquests"
    auth_name = "evertoken.clients.niquests.BearerAuth"
    drops_the_token = True

    def sent(self, auth: Any, call: Call) -> Reply:
        return asyncio.run(self.sent_in_task(auth, call))

    async def sent_in_task(self, auth: Any, call: Call) -> Reply:
        async with self.module.AsyncSession() as session:
            answer = await session.request(
                call.method,
                call.url,
                auth=auth,
                data=async_parts(call.body) if call.stream else call.body,
                files=call.files,
                headers=call.headers,
                timeout=TIMEOUT,
            )
            return reply_of(answer, answer.request.body)

    def status_of_stream(self, auth: Any, url: str) -> int:
        async def status() -> int:
            async with self.module.AsyncSession() as session:
                answer = await session.get(url, auth=auth, timeout=TIMEOUT, stream=True)
                status: int = answer.status_code
                await answer.close()
                return status

        return asyncio.run(status())


class Niquests(Requests):
    """Of niquests, in a thread."""

    package = "niquests"
    auth_name = "evertoken.clients.niquests.BearerAuth"
    drops_the_token = True


class Httpx(AnyClient):
    """Of httpx or httpx2, in a thread."""

    drops_the_token = True

    def __init__(self, package: str) -> None:
        self.package = package
        self.auth_name = f"evertoken.clients.{package}.BearerAuth"
        self.module: Any = importlib.import_module(package)
        self.auths: Any = importlib.import_module(f"evertoken.clients.{package}")
        self.family = self.module.HTTPError

    def auth(self, manager: TokenManager, **options: Any) -> Any:
        return self.auths.BearerAuth(manager, **options)

    def sent(self, auth: Any, call: Call) -> Reply:
        content = parts(call.body) if call.stream else call.body
        with self.module.Client(
            auth=auth, timeout=TIMEOUT, verify=TLS, follow_redirects=True
        ) as client:
            answer = client.request(
                call.method, call.url, content=content, files=call.files, headers=call.headers
            )
            return self._reply(answer)

    def status_of_stream(self, auth: Any, url: str) -> int:
        with (
            self.module.Client(auth=auth, timeout=TIMEOUT, verify=TLS) as client,
            client.stream("GET", url) as answer,
        ):
            status: int = answer.status_code
            return status

    def _reply(self, answer: Any) -> Reply:
        try:
            return reply_of(answer, answer.request.content)
        except self.module.RequestNotRead:
            # of a stream, or of a request that httpx made from a redirect
            return reply_of(answer, None)


class AsyncHttpx(Httpx):
    """In a task."""

    def sent(self, auth: Any, call: Call) -> Reply:
        return asyncio.run(self.sent_in_task(auth, call))

    async def sent_in_task(self, auth: Any, call: Call) -> Reply:
        content = async_parts(call.body) if call.stream else call.body
        client = self.module.AsyncClient(
            auth=auth, timeout=TIMEOUT, verify=TLS, follow_redirects=True
        )
        async with client:
            answer = await client.request(
                call.method, call.url, content=content, files=call.files, headers=call.headers
            )
            return self._reply(answer)

    def status_of_stream(self, auth: Any, url: str) -> int:
        async def status() -> int:
            async with (
                self.module.AsyncClient(auth=auth, timeout=TIMEOUT, verify=TLS) as client,
                client.stream("GET", url) as answer,
            ):
                status: int = answer.status_code
                return status

        return asyncio.run(status())


class Aiohttp(AnyClient):
    package = "aiohttp"
    auth_name = "evertoken.clients.aiohttp.bearer_auth"
    keeps_history = False

    def __init__(self) -> None:
        self.module: Any = importlib.import_module("aiohttp")
        self.auths: Any = importlib.import_module("evertoken.clients.aiohttp")
        self.family = self.module.ClientError

    def auth(self, manager: TokenManager, **options: Any) -> Any:
        return self.auths.bearer_auth(manager, **options)

    def sent(self, auth: Any, call: Call) -> Reply:
        return asyncio.run(self.sent_in_task(auth, call))

    async def sent_in_task(self, auth: Any, call: Call) -> Reply:
        async with self._answer(auth, call) as answer:
            return Reply(answer.status, await answer.read(), [])

    def status_of_stream(self, auth: Any, url: str) -> int:
        async def status() -> int:
            async with self._answer(auth, Call("GET", url)) as answer:
                return int(answer.status)

        return asyncio.run(status())

    @asynccontextmanager
    async def _answer(self, auth: Any, call: Call) -> AsyncIterator[Any]:
        data = async_parts(call.body) if call.stream else call.files or call.body
        async with (
            # as the other clients do by default
            self.module.ClientSession(middlewares=[auth], trust_env=True) as session,
            session.request(call.method, call.url, data=data, headers=call.headers) as answer,
        ):
            yield answer


def reply_of(answer: Any, resent: object) -> Reply:
    """The reply of a client with the interface of requests."""
    history = [each.request.headers.get("Authorization") for each in answer.history]
    shown = resent if isinstance(resent, bytes) else None
    return Reply(answer.status_code, answer.content, history, shown)


def parts(body: bytes | None) -> Iterator[bytes]:
    """A body that can be read only once."""
    yield body or b""


async def async_parts(body: bytes | None) -> AsyncIterator[bytes]:
    """The same body for a task."""
    yield body or b""


def _niquests(kind: type[Requests], auth: str) -> AnyClient:
    auths = importlib.import_module("evertoken.clients.niquests")
    return kind(importlib.import_module("niquests"), getattr(auths, auth))


CLIENTS: dict[str, Callable[[], AnyClient]] = {
    "requests": Requests,
    "httpx": lambda: Httpx("httpx"),
    "httpx-async": lambda: AsyncHttpx("httpx"),
    "httpx2": lambda: Httpx("httpx2"),
    "httpx2-async": lambda: AsyncHttpx("httpx2"),
    "aiohttp": Aiohttp,
}
# it changes what requests uses, so that it is installed in an environment of its own only
if find_spec("niquests") is not None:
    CLIENTS |= {
        "niquests": lambda: _niquests(Niquests, "BearerAuth"),
        "niquests-async": lambda: _niquests(AsyncNiquests, "AsyncBearerAuth"),
    }
