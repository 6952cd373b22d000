"""Which answers mean a dead token, and how the request is sent again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import BearerAuth
from evertoken.engine.naming import whose
from evertoken.events import Replayed
from evertoken.runtime import reports
from evertoken.testing import Answer, Cut, Delay, TokenServer
from support.http_clients import WAIT, get, manager_of
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import Response

    from evertoken import TokenManager
    from evertoken.events import Event

EXPIRED = Answer.json({"error": "token_expired"})


def authorizations(server: TokenServer) -> list[str | None]:
    return [request.headers.get("Authorization") for request in server.api.requests]


# --- the answer to the replay ----------------------------------------------------------------


def test_the_time_of_a_replayed_answer_is_that_of_its_own_exchange(
    token_server: TokenServer, session: requests.Session
) -> None:
    token_server.api.answer_next(Answer(401), Delay(0.2))

    elapsed = get(session, token_server).elapsed

    assert timedelta(seconds=0.2) <= elapsed < timedelta(seconds=WAIT)


def cookies(server: TokenServer) -> list[dict[str, str]]:
    """The cookies of each request to the API, by name."""
    sent = [request.headers.get("Cookie") or "" for request in server.api.requests]
    return [dict(it.split("=") for it in line.split("; ") if it) for line in sent]


def refused_with(cookie: str) -> Answer:
    return Answer(401, {"Set-Cookie": f"{cookie}; Path=/"}, b"denied")


def test_a_cookie_set_by_the_401_is_sent_with_the_replay(
    token_server: TokenServer, session: requests.Session
) -> None:
    token_server.api.answer_next(refused_with("session=new"))
    session.cookies.set("kept", "yes")

    get(session, token_server)

    assert cookies(token_server) == [{"kept": "yes"}, {"kept": "yes", "session": "new"}]


def test_a_cookie_changed_or_deleted_by_the_401_is_sent_as_changed(
    token_server: TokenServer, session: requests.Session
) -> None:
    for cookie, then in (("session=new", {"session": "new"}), ("session=; Max-Age=0", {})):
        session.cookies.clear()
        session.cookies.set("session", "old", domain="127.0.0.1", path="/")
        token_server.api.answer_next(refused_with(cookie))
        session.auth.manager.refresh()  # type: ignore[union-attr]  # it is ours
        get(session, token_server)

        assert cookies(token_server)[-1] == then
        session.auth = BearerAuth(manager_of(token_server))


def test_a_cookie_header_of_the_caller_is_not_changed(
    token_server: TokenServer, session: requests.Session
) -> None:
    token_server.api.answer_next(refused_with("session=new"))

    session.get(token_server.api_url, headers={"Cookie": "by=hand"}, timeout=WAIT)

    assert cookies(token_server) == [{"by": "hand"}] * 2


# --- a dead token that the API reports in another way ----------------------------------------


def says_expired(response: Response) -> bool:
    return bool(response.status_code == 200 and response.json().get("error") == "token_expired")


@pytest.mark.parametrize("stream", [False, True], ids=["read", "streamed"])
@pytest.mark.parametrize(
    ("dead", "predicate"),
    [(EXPIRED, says_expired), (Answer(419), lambda response: response.status_code == 419)],
    ids=["in the body", "by another status"],
)
def test_a_predicate_detects_a_dead_token(
    token_server: TokenServer,
    dead: Answer,
    predicate: Callable[[Response], bool],
    *,
    stream: bool,
) -> None:
    events: list[Event] = []
    manager = manager_of(token_server, on_event=events.append)
    token_server.api.answer_next(dead)

    with requests.Session() as session:
        session.auth = BearerAuth(manager, is_unauthorized=predicate)
        response = get(session, token_server, stream=stream)

        assert (response.status_code, response.json()["method"]) == (200, "GET")
    assert [(it.status_code, it.content) for it in response.history] == [(dead.status, dead.body)]
    assert token_server.grants == 2
    reports.catch_up(5.0)
    assert events[-1] == Replayed(dead.status, **whose(manager.grant.key, manager.grant))


def test_a_predicate_adds_to_the_statuses_but_not_for_a_scope_error(
    token_server: TokenServer, manager: TokenManager
) -> None:  # S32
    auth = BearerAuth(manager, is_unauthorized=says_expired)
    challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    token_server.api.answer_next(Answer(401), Answer(200, challenge, EXPIRED.body))

    answers = [requests.get(token_server.api_url, auth=auth, timeout=WAIT) for _ in range(2)]

    assert [it.status_code for it in answers] == [200, 200]
    assert [len(it.history) for it in answers] == [1, 0]
    assert answers[0].text == EXPIRED.body.decode()


def test_a_body_that_a_predicate_read_can_be_read_again(token_server: TokenServer) -> None:
    auth = BearerAuth(manager_of(token_server), is_unauthorized=says_expired)

    response = requests.get(token_server.api_url, auth=auth, timeout=WAIT, stream=True)

    assert b"".join(response.iter_content(7)) == response.content


def test_a_predicate_is_not_called_for_answers_from_other_origins(
    token_server: TokenServer, manager: TokenManager
) -> None:
    asked: list[str] = []
    with TokenServer() as foreign, requests.Session() as session:
        session.auth = BearerAuth(manager, is_unauthorized=lambda it: asked.append(it.url))
        token_server.api.answer_next(Answer.redirect(foreign.api_url))
        get(session, token_server)
        session.get(foreign.api_url, timeout=WAIT)

    assert asked == [token_server.api_url]


def test_a_predicate_that_raises_counts_as_false_and_is_logged_once(
    token_server: TokenServer, manager: TokenManager, caplog: pytest.LogCaptureFixture
) -> None:
    auth = BearerAuth(manager, is_unauthorized=lambda response: response.json()["planted"])
    token_server.api.answer_always(Answer(502, (), b"<html>planted"))

    answers = [requests.get(token_server.api_url, auth=auth, timeout=WAIT) for _ in range(3)]

    assert {it.status_code for it in answers} == {502}
    (record,) = warned(caplog)
    assert record.getMessage() == (
        f"is_unauthorized raised JSONDecodeError for an answer of {token_server.base_url}: "
        "no replay"
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_predicate_may_raise_for_a_status(
    token_server: TokenServer,
    manager: TokenManager,
    caplog: pytest.LogCaptureFixture,
    *,
    stream: bool,
) -> None:
    auth = BearerAuth(manager, is_unauthorized=lambda response: response.raise_for_status())
    token_server.api.answer_next(Answer(404, (), b"no such lead"))

    answer = requests.get(token_server.api_url, auth=auth, timeout=WAIT, stream=stream)

    assert (answer.status_code, answer.content) == (404, b"no such lead")
    (record,) = warned(caplog)
    assert record.getMessage().startswith("is_unauthorized raised HTTPError for an answer of ")


@pytest.mark.parametrize("predicate", [None, says_expired])
def test_a_truncated_body_raises_the_error_of_requests_with_a_predicate_too(
    token_server: TokenServer,
    manager: TokenManager,
    predicate: Callable[[Response], bool] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    token_server.api.answer_next(Cut("body", then=EXPIRED))

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(
            token_server.api_url, auth=BearerAuth(manager, is_unauthorized=predicate), timeout=WAIT
        )
    assert warned(caplog) == []


# --- another scheme --------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Token", "bearer", "JWT"])
def test_the_replay_uses_the_configured_scheme(
    token_server: TokenServer, manager: TokenManager, scheme: str
) -> None:
    auth = BearerAuth(manager, scheme=scheme)
    token_server.api.answer_next(Answer(200), Answer(401), Answer(200))
    dead = manager.token().value

    answers = [requests.get(token_server.api_url, auth=auth, timeout=WAIT) for _ in range(2)]

    assert [it.status_code for it in answers] == [200, 200]
    live = manager.token().value
    assert authorizations(token_server) == [f"{scheme} {it}" for it in (dead, dead, live)]
    assert token_server.grants == 2


def test_a_replaced_token_costs_no_grant_under_another_scheme(
    token_server: TokenServer, manager: TokenManager
) -> None:  # S38
    request = requests.Request(
        "GET", token_server.api_url, auth=BearerAuth(manager, scheme="Token")
    )
    token_server.api.answer_next(Answer(401), Answer(200))
    with requests.Session() as session:
        prepared = session.prepare_request(request)
        live = manager.refresh().value

        assert session.send(prepared, timeout=WAIT).status_code == 200
    assert authorizations(token_server)[-1] == f"Token {live}"
    assert token_server.grants == 2


@pytest.mark.parametrize("scheme", ["", "Bearer ", "two words", "Token\r\nX: y", "Tök"])
def test_a_scheme_is_one_word(manager: TokenManager, scheme: str) -> None:
    with pytest.raises(ValueError, match="scheme must be one word"):
        BearerAuth(manager, scheme=scheme)


# --- another client than requests ------------------------------------------------------------


class URL:
    """A URL like those of httpx and aiohttp, which are not text."""


@dataclass
class Request:
    url: URL


@pytest.mark.parametrize(
    ("module", "named"),
    [
        ("httpx._models", "use evertoken.clients.httpx.BearerAuth, or set"),
        ("httpx2._models", "use evertoken.clients.httpx2.BearerAuth, or set"),
        ("aiohttp.client_reqrep", "use evertoken.clients.aiohttp.bearer_auth, or set"),
        ("another", "not for another: set"),
    ],
)
def test_a_request_of_another_client_raises_an_error_that_names_its_adapter(
    token_server: TokenServer,
    manager: TokenManager,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    named: str,
) -> None:
    monkeypatch.setattr(Request, "__module__", module)

    with pytest.raises(
        TypeError, match=r"BearerAuth is for requests.*manager\.header\(\)"
    ) as caught:
        BearerAuth(manager)(Request(URL()))  # type: ignore[arg-type]  # as a client calls it

    assert named in str(caught.value)
    assert token_server.requests == ()
