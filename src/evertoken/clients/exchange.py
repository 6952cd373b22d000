"""The exchange around one request, written once as a generator that each client runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from evertoken import urls

if TYPE_CHECKING:
    from collections.abc import Generator

    from evertoken.bearer import Bearer
    from evertoken.runtime.waiters import Wait

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
ResponseT_contra = TypeVar("ResponseT_contra", contravariant=True)


class Answer(NamedTuple):
    """The parts of a response that decide.

    Attributes:
        status: its status.
        url: of the request that it answers, the last one of a chain of redirects.
        sent: the `Authorization` of that request; None if the client has dropped it on a redirect.
        challenge: its `WWW-Authenticate`, or "".
    """

    status: int
    url: str
    sent: str | None
    challenge: str


class Client(Protocol[RequestT, ResponseT_contra]):
    """The interface of an HTTP client to an exchange."""

    def url(self, request: RequestT) -> str:
        """The URL of `request`."""

    def is_proxied(self, url: str) -> bool:
        """Whether a request to the `http://` URL goes through a proxy, as far as that is known."""

    def sign(self, request: RequestT, header: str) -> None:
        """Set its `Authorization`."""

    def answer(self, response: ResponseT_contra) -> Answer:
        """The parts of `response` that decide."""

    def repeated(self, response: ResponseT_contra, header: str) -> RequestT | None:
        """The request of `response` with another `Authorization`; None if its body is consumed."""


class Send(NamedTuple, Generic[RequestT]):
    """An effect: send `request`. The result is its response."""

    request: RequestT


class Read(NamedTuple, Generic[ResponseT]):
    """An effect: read the body of `response`, for the user's predicate."""

    response: ResponseT


def exchange(
    bearer: Bearer[ResponseT], client: Client[RequestT, ResponseT], request: RequestT
) -> Generator[Wait | Send[RequestT] | Read[ResponseT], ResponseT | None, ResponseT]:
    """Send `request` with the token, and once more if the token is rejected.

    It yields effects: a `Wait`, a `Send`, or a `Read` of the last response. A client that follows
    redirects itself may have dropped the token on a redirect to another one of the origins; that
    hop is also sent again, once.

    Returns:
        The response that the caller gets.

    Raises:
        TokenError: no token is available, or a proxy would receive it.
    """
    if not bearer.admits(client.url(request), client.is_proxied):
        return _received((yield Send(request)))
    client.sign(request, (yield from bearer.header_flow()))
    response = _received((yield Send(request)))
    return (yield from settled(bearer, client, response, set()))


def settled(
    bearer: Bearer[ResponseT],
    client: Client[RequestT, ResponseT],
    response: ResponseT,
    spent: set[bool],
) -> Generator[Wait | Send[RequestT] | Read[ResponseT], ResponseT | None, ResponseT]:
    """What follows `response`: a replay if it refuses the token, as `exchange` says.

    Args:
        bearer: decides.
        client: sends.
        response: the first one, or that of a further hop of a redirect.
        spent: the replays that this call has had, of a request without a token (True) and with one.

    Returns:
        The response that the caller gets.
    """
    while True:
        status, url, sent, challenge = client.answer(response)
        if not bearer.origins.cover(url) or (sent is None) in spent:
            return response
        if bearer.needs_body(status):
            yield Read(response)
        if bearer.lacks_scope(challenge) or not bearer.refuses(response, status, url):
            return response
        spent.add(sent is None)
        if sent is None:
            if urls.is_plain_loopback(url) and client.is_proxied(url):
                return response
            header: str | None = yield from bearer.later_header_flow(status)
        else:
            header = yield from bearer.replacement_flow(sent, status)
        again = None if header is None else client.repeated(response, header)
        if again is None:
            if header is not None:
                bearer.warn_of_body(url)
            return response
        response = _received((yield Send(again)))
        bearer.manager.report_replay(status)


def _received(response: ResponseT | None) -> ResponseT:
    assert response is not None  # noqa: S101  a driver answers each request with its response
    return response
