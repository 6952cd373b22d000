"""The contract that the auth of every HTTP client keeps."""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from evertoken import GrantRefused, GrantUnavailable, InsecureURL, TokenError, TokenManager
from evertoken.events import Replayed
from evertoken.runtime import reports
from evertoken.testing import Answer, Drip, TokenServer
from evertoken.testing.answers import USUAL, Behaviour, Body, Exchange, Hold, Step
from support.any_client import CLIENTS, AnyClient
from support.http_clients import grant_of, manager_of
from support.http_proxy import Proxy
from support.logs import warned
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

PLANTED = "planted-in-a-function"

DENIED = Answer(401, (), b"denied")


@pytest.fixture(params=list(CLIENTS))
def client(request: pytest.FixtureRequest) -> AnyClient:
    """Each client in turn."""
    return CLIENTS[request.param]()


@pytest.fixture
def manager(token_server: TokenServer) -> TokenManager:
    return manager_of(token_server)


@pytest.fixture
def other_server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


def sent_to(server: TokenServer) -> list[list[str]]:
    """The `Authorization` fields of each request to the API, in order."""
    return [request.headers.get_all("Authorization") for request in server.api.requests]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The library's warnings."""
    return [record.getMessage() for record in warned(caplog) if record.name == "evertoken"]


def whole(response: Any) -> bytes:
    """The body of a response of any client, after it has been read."""
    body = getattr(response, "content", None)
    return body if isinstance(body, bytes) else response._body


@dataclass(frozen=True, slots=True)
class BodyHeld:
    """Sends the head, and the body only once the server releases it."""

    then: Behaviour = USUAL

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        for step in self.then.steps(exchange):
            if isinstance(step, Body):
                yield Hold()
            yield step


class Pipe(io.RawIOBase):
    """A file that cannot be rewound."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        return self._rest.readinto(buffer)


class ClosedAtItsEnd(io.BytesIO):
    """A file that is closed once it was read, so that it cannot be rewound any more."""

    def read(self, size: int | None = -1) -> bytes:
        data = b"" if self.closed else super().read(size)
        if not data and size != 0:
            self.close()
        return data


def planted() -> str:
    return PLANTED


# -- which requests get the token ------------------------------------------------------------------


def test_a_request_carries_the_token(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S28
    reply = client.send(client.auth(manager), "GET", token_server.api_url)
    assert reply.status == 200
    assert sent_to(token_server) == [[manager.header()]]


def test_the_callers_own_header_is_replaced(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S59
    given = {"Authorization": "Bearer left-over"}
    assert (
        client.send(client.auth(manager), "GET", token_server.api_url, headers=given).status == 200
    )
    assert sent_to(token_server) == [[manager.header()]]


def test_another_origin_gets_no_token_and_is_logged_once(
    client: AnyClient,
    manager: TokenManager,
    other_server: TokenServer,
    caplog: pytest.LogCaptureFixture,
) -> None:  # S29
    auth = client.auth(manager)
    for _ in range(2):
        client.send(auth, "GET", other_server.api_url)
    assert sent_to(other_server) == [[], []]
    assert [line.startswith("no token is sent to ") for line in warnings(caplog)] == [True]


def test_another_scheme_may_be_configured(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S61
    auth = client.auth(manager, scheme="Token")
    token_server.api.answer_next(DENIED, Answer(200))
    client.send(auth, "GET", token_server.api_url)
    first, second = (fields[0] for fields in sent_to(token_server))
    assert first.startswith("Token ")
    assert second.startswith("Token ")
    assert first != second


def test_a_plain_http_origin_must_be_allowed(client: AnyClient, manager: TokenManager) -> None:
    origins = ["http://api.example.com"]  # S30
    with pytest.raises(InsecureURL, match="https"):
        client.auth(manager, origins=origins)
    assert client.auth(manager, origins=origins, allow_http=True)


# -- proxies, which would see a token that goes to loopback in plain text -------------------------


@pytest.fixture
def proxy(
    token_server: TokenServer, other_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """The proxy of the environment, which leads to both servers."""
    ports = [urlsplit(server.base_url).port or 0 for server in (token_server, other_server)]
    hosts = ("127.0.0.1", "localhost")
    with Proxy({f"{host}:{port}": port for host in hosts for port in ports}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        yield proxy


def test_no_proxy_of_the_environment_receives_a_token_for_loopback(
    client: AnyClient, manager: TokenManager, token_server: TokenServer, proxy: Proxy
) -> None:  # S54
    with pytest.raises(client.family, match="to a proxy in plain text") as caught:
        client.send(client.auth(manager), "GET", token_server.api_url)
    assert isinstance(caught.value, InsecureURL)
    assert proxy.asked == []
    assert token_server.requests == ()


def test_the_remedy_that_the_error_names_works(
    client: AnyClient,
    manager: TokenManager,
    token_server: TokenServer,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # S54
    auth = client.auth(manager)
    with pytest.raises(InsecureURL) as caught:
        client.send(auth, "GET", token_server.api_url)
    named = re.search(r"NO_PROXY=([^)]*)", str(caught.value))
    assert named
    monkeypatch.setenv("NO_PROXY", named[1])
    assert client.send(auth, "GET", token_server.api_url).status == 200
    assert proxy.asked == []


def test_a_network_in_no_proxy_counts_as_the_client_reads_it(
    client: AnyClient,
    manager: TokenManager,
    token_server: TokenServer,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # S54
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    try:
        client.send(client.auth(manager), "GET", token_server.api_url)
    except InsecureURL:
        assert token_server.requests == ()
    else:
        assert len(token_server.api.requests) == 1
    assert proxy.asked == []


def test_a_redirect_to_a_named_origin_takes_no_token_to_a_proxy(
    client: AnyClient,
    token_server: TokenServer,
    other_server: TokenServer,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # S54, S61
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    there = other_server.api_url.replace("127.0.0.1", "localhost")
    token_server.api.answer_next(Answer.redirect(there))
    auth = client.auth(manager_of(token_server), origins=[token_server.base_url, there])
    try:
        status = client.send(auth, "GET", token_server.api_url).status
    except InsecureURL:
        status = 401
    assert status == 401
    assert len(proxy.asked) <= 1
    assert all(fields == [] for fields in sent_to(other_server))


# -- redirects -------------------------------------------------------------------------------------


def test_a_redirect_inside_the_origin_keeps_the_token(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S29
    token_server.api.answer_next(Answer.redirect(f"{token_server.api_url}next/"))
    assert client.send(client.auth(manager), "GET", token_server.api_url).status == 200
    assert sent_to(token_server) == [[manager.header()]] * 2


def test_a_redirect_to_another_origin_drops_the_token(
    client: AnyClient,
    manager: TokenManager,
    token_server: TokenServer,
    other_server: TokenServer,
) -> None:  # S29
    token_server.api.answer_next(Answer.redirect(other_server.api_url))
    assert client.send(client.auth(manager), "GET", token_server.api_url).status == 401
    assert sent_to(other_server) == [[]]
    assert token_server.grants == 1


def test_a_redirect_to_another_named_origin_keeps_the_token(
    client: AnyClient,
    manager: TokenManager,
    token_server: TokenServer,
    other_server: TokenServer,
) -> None:  # S61
    auth = client.auth(manager, origins=[token_server.base_url, other_server.base_url])
    other_server.api.answer_always(Answer(200, (), b"arrived"))
    other_server.api.answer_next(*([DENIED] if client.drops_the_token else []))
    token_server.api.answer_next(Answer.redirect(other_server.api_url))
    reply = client.send(auth, "GET", token_server.api_url)
    assert (reply.status, reply.body) == (200, b"arrived")
    assert sent_to(other_server)[-1] == [manager.header()]
    assert token_server.grants == 1


# -- a refused token -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_401_costs_one_renewal_and_one_replay_of_the_same_body(
    client: AnyClient, token_server: TokenServer, method: str
) -> None:  # S31
    events: list[object] = []
    manager = manager_of(token_server, on_event=events.append)
    auth = client.auth(manager)
    old = manager.header()
    token_server.revoke_all()
    body = b"lead=7" if method == "POST" else None
    reply = client.send(auth, method, token_server.api_url, body=body)
    assert reply.status == 200
    assert sent_to(token_server) == [[old], [manager.header()]]
    assert [request.body for request in token_server.api.requests] == [body or b""] * 2
    assert token_server.grants == 2
    reports.catch_up(5.0)
    assert [each.status for each in events if isinstance(each, Replayed)] == [401]


def test_a_second_401_is_returned_to_the_caller(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S31
    token_server.api.answer_next(DENIED, DENIED)
    reply = client.send(client.auth(manager), "GET", token_server.api_url)
    assert (reply.status, reply.body) == (401, b"denied")
    assert len(token_server.api.requests) == 2


def test_a_call_is_replayed_once_whatever_becomes_of_its_token(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S31
    seen: list[object] = []

    def refuses_each(response: object) -> bool:
        seen.append(response)
        # a sibling has renewed meanwhile, so that there is another token each time
        manager.refresh()
        return True

    auth = client.auth(manager, retry_statuses=(), is_unauthorized=refuses_each)
    assert client.send(auth, "GET", token_server.api_url).status == 200
    assert len(token_server.api.requests) == 2
    assert len(seen) == 1


def test_a_misspelt_option_is_named_with_what_the_user_called(
    client: AnyClient, manager: TokenManager
) -> None:
    called = r"^(BearerAuth\.__init__|BearerAuth|bearer_auth)\(\) got an unexpected keyword"
    with pytest.raises(TypeError, match=called + " argument 'orgins'"):
        client.auth(manager, orgins=["https://api.example.com"])


def test_a_token_that_lacks_a_scope_is_not_renewed(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S32
    challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    token_server.api.answer_next(Answer(401, challenge, b"scope"))
    reply = client.send(client.auth(manager), "GET", token_server.api_url)
    assert (reply.status, reply.body) == (401, b"scope")
    assert token_server.grants == 1


def test_a_403_means_a_dead_token_only_if_configured(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S33
    token_server.api.answer_next(Answer(403, (), b"denied"))
    assert client.send(client.auth(manager), "GET", token_server.api_url).status == 403
    token_server.api.answer_next(Answer(403, (), b"denied"))
    auth = client.auth(manager, retry_statuses=(401, 403))
    assert client.send(auth, "GET", token_server.api_url).status == 200


def test_a_predicate_may_detect_a_dead_token_in_the_body(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:
    def says_expired(response: Any) -> bool:
        return b"expired" in whole(response)

    token_server.api.answer_next(Answer(200, (), b"token expired"))
    auth = client.auth(manager, is_unauthorized=says_expired)
    reply = client.send(auth, "GET", token_server.api_url)
    assert reply.status == 200
    assert b"expired" not in reply.body
    assert token_server.grants == 2


def test_if_a_predicate_raises_the_caller_gets_the_answer(
    client: AnyClient,
    manager: TokenManager,
    token_server: TokenServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def raises(_: object) -> bool:
        raise LookupError("a secret")

    auth = client.auth(manager, is_unauthorized=raises)
    assert client.send(auth, "GET", token_server.api_url).status == 200
    (line,) = warnings(caplog)
    assert "LookupError" in line
    assert "secret" not in line


@pytest.mark.parametrize("kind", [OSError, ConnectionError])
def test_if_a_predicate_fails_to_reach_something_else_the_caller_gets_the_answer(
    client: AnyClient, manager: TokenManager, token_server: TokenServer, kind: type[OSError]
) -> None:
    def raises(response: Any) -> bool:
        whole(response)
        raise kind("a cache is away")

    auth = client.auth(manager, is_unauthorized=raises)
    assert client.send(auth, "GET", token_server.api_url).status == 200


def test_a_body_that_can_be_read_only_once_is_not_sent_again(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:  # S35
    old = manager.header()
    token_server.revoke_all()
    reply = client.send(
        client.auth(manager), "POST", token_server.api_url, body=b"lead=7", stream=True
    )
    assert reply.status == 401
    assert len(token_server.api.requests) == 1
    assert manager.header() != old


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe, ClosedAtItsEnd])
def test_a_form_with_a_file_is_sent_again_whole_or_not_at_all(
    client: AnyClient, manager: TokenManager, token_server: TokenServer, kind: Any
) -> None:  # S35
    old = manager.header()
    token_server.revoke_all()
    reply = client.send(
        client.auth(manager), "POST", token_server.api_url, file=kind(b"the leads of today")
    )
    bodies = [request.body for request in token_server.api.requests]
    assert b"the leads of today" in bodies[0]
    assert len(set(bodies)) == 1
    assert (reply.status, len(bodies)) in ((200, 2), (401, 1))
    if kind is io.BytesIO:
        assert reply.status == 200
    assert manager.header() != old


def test_the_history_shows_what_was_sent_first(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:
    old = manager.header()
    token_server.revoke_all()
    reply = client.send(client.auth(manager), "POST", token_server.api_url, body=b"lead=7")
    assert reply.history == ([old] if client.keeps_history else [])
    assert reply.resent == (b"lead=7" if client.keeps_history else None)


def test_a_streamed_response_is_left_to_the_caller(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:
    token_server.api.answer_next(BodyHeld())
    # a client whose auth read the body would time out here
    assert client.status_of_stream(client.auth(manager), token_server.api_url) == 200


# httpx itself reads the whole body before a replay
@pytest.mark.parametrize("client", [it for it in CLIENTS if "httpx" not in it], indirect=True)
def test_a_401_whose_body_drips_does_not_hold_up_the_replay(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:
    token_server.api.answer_next(Drip(0.05, then=Answer(401, (), b"." * 100_000)))
    assert client.send(client.auth(manager), "GET", token_server.api_url).status == 200


def test_a_cookie_set_by_the_401_is_sent_although_there_was_none(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:
    token_server.api.answer_next(Answer(401, {"Set-Cookie": "session=new; Path=/"}, b"denied"))
    client.send(client.auth(manager), "GET", token_server.api_url)
    cookies = [request.headers.get("Cookie") for request in token_server.api.requests]
    assert cookies == [None, "session=new"]


def test_a_cookie_that_cannot_be_parsed_is_sent_with_the_replay(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:
    sent = 'theme={"dark":1}; id=7'
    token_server.api.answer_next(Answer(401, {"Set-Cookie": "session=new; Path=/"}, b"denied"))
    client.send(client.auth(manager), "GET", token_server.api_url, headers={"Cookie": sent})
    assert sent in token_server.api.requests[-1].headers["Cookie"]


def test_a_cookie_set_by_the_401_is_sent_with_the_replay(
    client: AnyClient, manager: TokenManager, token_server: TokenServer
) -> None:
    token_server.api.answer_next(Answer(401, {"Set-Cookie": "session=new; Path=/"}, b"denied"))
    client.send(client.auth(manager), "GET", token_server.api_url, headers={"Cookie": "other=kept"})
    cookies = token_server.api.requests[-1].headers.get_all("Cookie")
    assert cookies == ["other=kept; session=new" if client.joins_cookies else "other=kept"]


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GrantRefused, GrantUnavailable])
def test_an_error_belongs_to_the_clients_family_too(
    client: AnyClient, token_server: TokenServer, kind: type[TokenError]
) -> None:
    if kind is GrantRefused:
        token_server.refuse("invalid_grant")
    else:
        token_server.outage()
    manager = manager_of(token_server, timeout=5.0)
    with pytest.raises(client.family) as caught:
        client.send(client.auth(manager), "GET", token_server.api_url)
    assert isinstance(caught.value, kind)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  it was made here
    assert type(again) is type(caught.value)
    assert str(again) == str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_if_the_token_cannot_be_replaced_the_caller_gets_the_answer(
    client: AnyClient, token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    manager = manager_of(token_server, grant=grant_of(token_server))
    auth = client.auth(manager)
    manager.header()
    token_server.revoke_all()
    token_server.refuse("invalid_grant")
    assert client.send(auth, "GET", token_server.api_url).status == 401
    assert any("could not be replaced" in line for line in warnings(caplog))


# an asynchronous auth of niquests is a coroutine function, which another client does not await
@pytest.mark.parametrize("other", [it for it in CLIENTS if it != "niquests-async"])
def test_the_auth_of_another_client_says_which_one_is_right(
    client: AnyClient, manager: TokenManager, token_server: TokenServer, other: str
) -> None:
    theirs = CLIENTS[other]()
    if theirs.package == client.package:
        return
    right = re.escape(f"{theirs.auth_name} is for {theirs.package}, not for {client.package}: use ")
    with pytest.raises(TypeError, match=right + re.escape(f"{client.auth_name}, or set the")):
        client.send(theirs.auth(manager), "GET", token_server.api_url)
    assert token_server.requests == ()


# -- what it shows ---------------------------------------------------------------------------------


def test_an_auth_pickles_as_its_configuration_and_shows_no_secret(client: AnyClient) -> None:
    with TokenServer(client_secret=PLANTED, password=PLANTED) as server:
        manager = TokenManager(grant_of(server, client_secret=planted, password=planted))
        origins = ["http://api.example.com", server.base_url]
        auth = client.auth(manager, origins=origins, allow_http=True, scheme="Token")
        client.send(auth, "GET", server.api_url)
        pickled = pickle.dumps(auth)
        there = pickle.loads(pickled)  # noqa: S301  it was made here
        client.send(there, "GET", server.api_url)
        token = manager.token().value

    assert sent_to(server)[-1] == [f"Token {token}"]
    assert repr(there) == repr(auth)
    assert "http://api.example.com" in repr(auth)
    assert Scanner(secret=PLANTED, token=token).found_in(pickled, repr(auth)) == []
