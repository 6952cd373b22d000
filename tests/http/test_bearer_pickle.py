"""A response can be pickled and cached, without its manager."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest
import requests
from requests_cache import CachedSession

from evertoken import BearerAuth
from evertoken.testing import Answer
from support.http_clients import WAIT, manager_of
from support.logs import warned
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import Response

    from evertoken.testing import TokenServer


@pytest.fixture
def auth(token_server: TokenServer) -> BearerAuth:
    return BearerAuth(manager_of(token_server))


@pytest.fixture
def cached(auth: BearerAuth) -> Iterator[CachedSession]:
    """A session that caches every answer, whatever its status."""
    with CachedSession(backend="memory", allowable_codes=(200, 302, 401)) as session:
        session.auth = auth
        yield session


def credentials(server: TokenServer) -> Scanner:
    return Scanner(password=server.password, client_secret=server.client_secret)


@pytest.mark.parametrize("through", ["one request", "a replay", "a redirect", "both"])
def test_a_response_pickles_without_its_manager(
    token_server: TokenServer, auth: BearerAuth, through: str
) -> None:  # S60
    steps = {
        "a replay": [Answer(401)],
        "a redirect": [Answer.redirect("/api/moved/")],
        "both": [Answer.redirect("/api/moved/"), Answer(401)],
    }
    token_server.api.answer_next(*steps.get(through, []))
    response = requests.get(token_server.api_url, auth=auth, timeout=WAIT)

    pickled = pickle.dumps(response)
    there = pickle.loads(pickled)  # noqa: S301  our own

    assert there.json() == response.json()
    assert [it.status_code for it in there.history] == [it.status_code for it in response.history]
    assert there.request.headers == response.request.headers
    assert credentials(token_server).found_in(pickled) == []
    assert pickle.dumps(there)


def test_the_request_of_a_pickled_response_can_be_sent(
    token_server: TokenServer, auth: BearerAuth
) -> None:
    response = requests.get(token_server.api_url, auth=auth, timeout=WAIT)
    request = pickle.loads(pickle.dumps(response)).request  # noqa: S301  our own
    token_server.expire_all()

    with requests.Session() as session:
        again = session.send(request, timeout=WAIT)

    assert (again.status_code, token_server.grants) == (401, 1)


def test_a_copied_request_is_still_replayed(token_server: TokenServer, auth: BearerAuth) -> None:
    request = copy.deepcopy(requests.Request("GET", token_server.api_url, auth=auth).prepare())
    token_server.expire_all()

    with requests.Session() as session:
        assert session.send(request, timeout=WAIT).status_code == 200


def get(session: CachedSession, server: TokenServer) -> Response:
    response: Response = session.get(server.api_url, timeout=WAIT)
    return response


def test_a_cached_response_is_returned_unchanged(
    token_server: TokenServer, cached: CachedSession, caplog: pytest.LogCaptureFixture
) -> None:
    token_server.api.answer_next(*[Answer(401, (), b"denied")] * 2)
    answers = [get(cached, token_server) for _ in range(3)]

    assert [(it.status_code, it.text) for it in answers] == [(401, "denied")] * 3
    assert len(token_server.api.requests) == 2
    assert not warned(caplog)[1:]


def test_a_cached_redirect_is_followed(token_server: TokenServer, cached: CachedSession) -> None:
    token_server.api.answer_next(Answer.redirect("/api/moved/"))
    answers = [get(cached, token_server) for _ in range(2)]

    assert [it.status_code for it in answers] == [200, 200]
    assert len(token_server.api.requests) == 2


def test_an_answer_is_cached_after_its_replay(
    token_server: TokenServer, cached: CachedSession
) -> None:
    token_server.api.answer_next(Answer(401))
    answers = [get(cached, token_server) for _ in range(2)]

    assert [it.status_code for it in answers] == [200, 200]
    assert len(token_server.api.requests) == 2
