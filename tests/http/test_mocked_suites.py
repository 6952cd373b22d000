"""Under `responses`, `requests-mock` or vcrpy no token request reaches a real server: S63."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import responses

from evertoken import BearerAuth, GrantUnavailable, squadrun
from evertoken.runtime import mocks
from evertoken.testing import Answer
from support import http_mocks
from support.http_clients import WAIT, grant_of, manager_of
from support.http_mocks import MOCKS, TOKENS, Urls

if TYPE_CHECKING:
    from evertoken.testing import TokenServer

CACHED = """
import sys
import requests

class Cached(requests.Session):
    def __init__(self):
        raise AssertionError("a user's cache would be opened, and closed")

    def send(self, request, **_):
        raise AssertionError("the answer to a password would be kept")

requests.Session = requests.sessions.Session = Cached

from evertoken import PasswordGrant, TokenError

grant = PasswordGrant(sys.argv[1], client_id="i", username="u", password="p")
try:
    grant.request()
except TokenError as error:
    print(type(error).__name__)
"""

every_mock = pytest.mark.parametrize("mock", MOCKS)


@pytest.fixture
def urls(token_server: TokenServer) -> Urls:
    """The URLs of the real server, which the mock answers in its place."""
    return Urls(token_server.token_url, token_server.api_url)


@every_mock
def test_the_mock_grants_in_place_of_the_token_endpoint(
    mock: str, token_server: TokenServer, urls: Urls, tmp_path: Path
) -> None:
    with MOCKS[mock](urls, tmp_path):
        answer = requests.get(urls.api, auth=BearerAuth(manager_of(token_server)), timeout=WAIT)

    assert answer.request.headers["Authorization"] == f"Bearer {TOKENS[0]}"
    assert token_server.requests == ()


@every_mock
def test_a_mocked_401_is_replayed_with_the_next_mocked_token(
    mock: str, token_server: TokenServer, urls: Urls, tmp_path: Path
) -> None:
    # requests-mock holds a lock around the whole call, in which the token is renewed
    with MOCKS[mock](urls, tmp_path):
        auth = BearerAuth(manager_of(token_server, timeout=2.0))
        answers = [requests.get(urls.api, auth=auth, timeout=WAIT) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.request.headers["Authorization"] for answer in answers] == [
        f"Bearer {token}" for token in TOKENS
    ]
    assert token_server.requests == ()


def test_under_a_mock_the_call_that_starts_a_renewal_makes_it(token_server: TokenServer) -> None:
    # otherwise the request for a due token might be sent after the mock is removed
    senders = []

    def grant(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        senders.append(threading.current_thread())
        return 200, {}, json.dumps(http_mocks.granting("token") | {"expires_in": 1})

    manager = manager_of(token_server)
    with responses.RequestsMock() as mock:
        mock.add_callback("POST", token_server.token_url, grant)
        manager.token()

    assert senders == [threading.current_thread()]


@every_mock
def test_after_the_mock_the_endpoint_itself_is_asked(
    mock: str, token_server: TokenServer, urls: Urls, tmp_path: Path
) -> None:
    with MOCKS[mock](urls, tmp_path):
        assert grant_of(token_server).request().value == TOKENS[0]
        assert mocks.are_in_place()
    assert not mocks.are_in_place()
    token_server.token_endpoint.answer_next(Answer(503))

    with pytest.raises(GrantUnavailable, match="503"):
        grant_of(token_server).request()
    assert grant_of(token_server).request().value not in TOKENS


@every_mock
def test_modules_loaded_inside_a_mock_do_not_keep_it(mock: str, tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603  a script of ours
        [sys.executable, http_mocks.__file__, mock, str(tmp_path)],
        env={"PYTHONPATH": str(Path(http_mocks.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    assert json.loads(done.stdout) == []


def test_a_caching_session_class_is_never_used(token_server: TokenServer, tmp_path: Path) -> None:
    # like requests-cache, before the library makes its first request
    (tmp_path / "cached.py").write_text(CACHED)
    done = subprocess.run(  # noqa: S603  a script of ours
        [sys.executable, str(tmp_path / "cached.py"), token_server.token_url],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.stdout == "GrantRefused\n", done.stderr


def test_a_url_unknown_to_the_mock_is_named() -> None:
    manager = squadrun.manager(client_id="id", client_secret="secret", username="u", password="p")
    with responses.RequestsMock(), pytest.raises(GrantUnavailable) as caught:
        manager.grant.request()

    assert "a mock stands in for servers here: does it know this URL?" in str(caught.value)
