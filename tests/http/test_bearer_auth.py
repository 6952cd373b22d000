"""BearerAuth: which requests get the token, and how a rejecting answer is handled."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from evertoken import BearerAuth, FileStore, FunctionGrant, InsecureURL, TokenManager
from evertoken.engine.naming import whose
from evertoken.events import Replayed
from evertoken.runtime import clock, reports
from evertoken.testing import Answer, Hang, Reset, TokenServer, Usual
from support.http_clients import WAIT, get, grant_of, manager_of
from support.logs import warned
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import PreparedRequest, Response

    from evertoken.events import Event
    from evertoken.testing import Recorded

API = "https://api.example.com"


def authorizations(server: TokenServer) -> list[list[str]]:
    """The `Authorization` of each request to the API, in order."""
    return [request.headers.get_all("Authorization") for request in server.api.requests]


def denied(**headers: str) -> Answer:
    return Answer(401, headers, b"denied")


# --- which requests get the token ------------------------------------------------------------


def test_a_request_carries_the_token_once_and_nowhere_else(
    token_server: TokenServer, session: requests.Session, manager: TokenManager
) -> None:  # S28
    response = session.post(
        f"{token_server.api_url}?page=2", json={"lead_id": 7}, timeout=WAIT, headers={"X": "y"}
    )

    assert response.status_code == 200
    (request,) = token_server.api.requests
    token = manager.token().value
    assert request.headers.get_all("Authorization") == [f"Bearer {token}"]
    assert (request.query, request.body) == ("page=2", b'{"lead_id": 7}')
    others = [value for name, value in request.headers.items() if name != "Authorization"]
    assert not any(token in value for value in others)


def test_the_scheme_is_spelled_bearer(
    token_server: TokenServer, session: requests.Session
) -> None:  # S28
    token_server.extra = {"token_type": "bearer"}

    assert get(session, token_server).status_code == 200
    assert authorizations(token_server)[0][0].startswith("Bearer ")


def signed(auth: BearerAuth, url: str) -> bool:
    """Whether `auth` adds a token to a request to `url`."""
    request = requests.Request("GET", url).prepare()
    return "Authorization" in auth(request).headers


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/api/",
        "https://api.example.com",
        "https://api.example.com?a=b",
        "https://api.example.com:443/api/",
        "HTTPS://API.Example.COM/api/",
        "https://ann:pass@api.example.com/api/",
    ],
)
def test_an_origin_is_recognised_however_it_is_written(
    manager: TokenManager, url: str
) -> None:  # S28
    assert signed(BearerAuth(manager, origins=[API]), url)
    assert signed(BearerAuth(manager, origins=["https://API.example.com:443/any/path"]), url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/",
        "https://api.example.com:444/",
        "https://api.example.com.evil.example/",
        "https://api.example.com@evil.example/",
        "https://evil.example/https://api.example.com/",
        "https://evil.example#api.example.com/",
        "https://evil.example\\@api.example.com/",
        "https://sub.api.example.com/",
        "https://apiexample.com/",
        "https://127.0.0.1/",
        "mailto:ann@api.example.com",
    ],
)
def test_any_other_origin_gets_no_token(
    manager: TokenManager, url: str, token_server: TokenServer
) -> None:  # S29, S30
    assert not signed(BearerAuth(manager, origins=[API]), url)
    assert token_server.requests == ()


def test_an_invalid_url_is_left_to_requests(manager: TokenManager) -> None:
    request = requests.Request("GET", API).prepare()
    for url in ("https://api.example.com:port/", "https://[", None):
        request.url = url

        assert "Authorization" not in BearerAuth(manager, origins=[API])(request).headers


def test_origins_that_cannot_be_meant_are_refused(manager: TokenManager) -> None:
    with pytest.raises(TypeError, match="origins must be a list of URLs, not text"):
        BearerAuth(manager, origins=API)
    with pytest.raises(ValueError, match="origins is empty, so that no request would get a token"):
        BearerAuth(manager, origins=[])


def test_a_grant_without_a_token_url_needs_origins() -> None:
    manager = TokenManager(FunctionGrant(lambda: ("a-token", 60), name="billing"))
    with pytest.raises(ValueError, match="no token URL: name the origins of the API in origins="):
        BearerAuth(manager)
    assert signed(BearerAuth(manager, origins=[API]), f"{API}/x")


def test_a_foreign_origin_is_logged_once(
    token_server: TokenServer, session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    with TokenServer() as foreign:
        for _ in range(3):
            session.get(foreign.api_url, timeout=WAIT)
        assert all("Authorization" not in request.headers for request in foreign.requests)

    (record,) = warned(caplog)
    assert (record.name, record.levelname) == ("evertoken", "WARNING")
    assert record.getMessage() == (
        f"no token is sent to {foreign.base_url}, only to {token_server.base_url}: to send it "
        f"there, name {foreign.base_url} in origins=, or as base_url= of the SquadRun presets"
    )
    assert token_server.requests == ()


@pytest.mark.parametrize("origin", ["http://api.example.com", "ftp://api.example.com", "api", ""])
def test_a_plain_http_api_is_rejected(manager: TokenManager, origin: str) -> None:  # S30
    with pytest.raises(InsecureURL, match="an origin"):
        BearerAuth(manager, origins=[API, origin])


def test_a_plain_http_api_can_be_allowed(manager: TokenManager) -> None:  # S30
    auth = BearerAuth(manager, origins=["http://api.internal"], allow_http=True)

    assert signed(auth, "http://api.internal/x")
    assert not signed(auth, "https://api.internal/x")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8", "http://localhost", "http://[::1]:9"])
def test_plain_http_on_loopback_is_allowed(manager: TokenManager, origin: str) -> None:  # S30
    assert signed(BearerAuth(manager, origins=[origin]), f"{origin}/x")


@pytest.mark.parametrize("where", ["request", "session", "basic"])
def test_an_earlier_authorization_is_replaced(
    token_server: TokenServer, session: requests.Session, manager: TokenManager, where: str
) -> None:  # S59
    stale = {"authorization": "Bearer stale"}
    if where == "session":
        session.headers.update(stale)
    if where == "basic":
        session.headers["Authorization"] = "Basic eA=="
    token_server.api.answer_next(denied())

    response = session.get(token_server.api_url, headers=stale if where == "request" else None)

    assert response.status_code == 200
    dead, live = authorizations(token_server)
    assert live == [manager.header()] != dead
    assert dead[0].startswith("Bearer ")
    assert "stale" not in dead[0]


def test_an_authorization_for_another_origin_is_not_changed(
    token_server: TokenServer, session: requests.Session
) -> None:  # S59
    with TokenServer() as foreign:
        session.get(foreign.api_url, headers={"Authorization": "Custom own"}, timeout=WAIT)

        assert authorizations(foreign) == [["Custom own"]]
    assert token_server.token_requests == 0


def test_an_auth_shows_and_pickles_no_secret(
    token_server: TokenServer, manager: TokenManager
) -> None:
    auth = BearerAuth(manager)
    manager.token()

    assert token_server.base_url in repr(auth)
    assert Scanner(**dict.fromkeys(["secret"], token_server.password)).found_in(repr(auth)) == []
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(auth)


def planted() -> str:
    return "from-a-function"


def test_an_auth_pickles_as_its_configuration() -> None:
    with TokenServer() as server:
        grant = grant_of(server, client_secret=planted, password=planted)
        auth = BearerAuth(
            TokenManager(grant),
            origins=[API],
            retry_statuses=(401, 403),
            is_unauthorized=bool,
            scheme="Token",
            allow_http=True,
        )
        there = pickle.loads(pickle.dumps(auth))  # noqa: S301  our own

    assert there.origins == auth.origins
    assert there.retry_statuses == (401, 403)
    assert there.is_unauthorized is bool
    assert there.scheme == "Token"
    assert there.allow_http


# --- what becomes of a 401 -------------------------------------------------------------------


def test_a_token_that_died_early_is_renewed_and_the_request_sent_again(
    token_server: TokenServer,
) -> None:  # S31
    events: list[Event] = []
    manager = manager_of(token_server, on_event=events.append)
    dead = manager.token().value
    token_server.expire_all()

    response = requests.get(token_server.api_url, auth=BearerAuth(manager), timeout=WAIT)

    live = manager.token().value
    assert response.status_code == 200
    assert authorizations(token_server) == [[f"Bearer {dead}"], [f"Bearer {live}"]]
    assert token_server.grants == 2
    reports.catch_up(5.0)
    assert events[-1] == Replayed(401, **whose(manager.grant.key, manager.grant))


def test_the_history_shows_the_401(
    token_server: TokenServer, session: requests.Session, manager: TokenManager
) -> None:  # S31
    dead = manager.token().value
    token_server.expire_all()

    response = get(session, token_server)

    (refused,) = response.history
    assert refused.status_code == 401
    assert refused.request.headers["Authorization"] == f"Bearer {dead}"
    assert refused.json() == {"detail": "Authentication credentials were not provided."}
    assert response.request.headers["Authorization"] == f"Bearer {manager.token().value}"


def test_a_second_401_is_returned_with_its_body(
    token_server: TokenServer, session: requests.Session
) -> None:  # S31
    token_server.api.answer_next(Answer(401, (), b"first"), Answer(401, (), b"second"))

    response = get(session, token_server)

    assert (response.status_code, response.text) == (401, "second")
    assert [it.text for it in response.history] == ["first"]
    assert len(token_server.api.requests) == token_server.grants == 2


def test_an_api_that_always_answers_401_costs_a_grant_a_minute(
    token_server: TokenServer,
    session: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # F21, S33
    token_server.api.answer_always(denied())
    since_boot = clock._since_boot

    for minute in (0, 61, 122):
        monkeypatch.setattr(clock, "_since_boot", lambda by=minute: since_boot() + by)
        responses = [get(session, token_server) for _ in range(5)]

        assert {it.status_code for it in responses} == {401}
        assert [len(it.history) for it in responses] == [1, 0, 0, 0, 0]
    assert token_server.grants == 1 + 3
    (record,) = warned(caplog)
    assert "the API rejected two tokens within 60 s" in record.getMessage()


@pytest.mark.parametrize("status", [401, 403])
def test_a_403_is_replayed_only_if_configured(
    token_server: TokenServer, manager: TokenManager, status: int
) -> None:  # S33
    token_server.denial_status = 403
    manager.token()
    token_server.expire_all()
    auth = BearerAuth(manager, retry_statuses=(401, status))

    response = requests.get(token_server.api_url, auth=auth, timeout=WAIT)

    replayed = status == 403
    assert response.status_code == (200 if replayed else 403)
    assert token_server.grants == (2 if replayed else 1)


def test_a_403_about_permission_does_not_become_a_grant_per_call(
    token_server: TokenServer, manager: TokenManager
) -> None:  # S33
    token_server.api.answer_always(Answer(403, (), b"not yours"))
    auth = BearerAuth(manager, retry_statuses=(401, 403))

    answers = [requests.get(token_server.api_url, auth=auth, timeout=WAIT) for _ in range(10)]

    assert {it.text for it in answers} == {"not yours"}
    assert token_server.grants == 2
    assert len(token_server.api.requests) == 11


def test_no_status_means_no_replay(token_server: TokenServer, manager: TokenManager) -> None:
    token_server.api.answer_always(denied())

    requests.get(token_server.api_url, auth=BearerAuth(manager, retry_statuses=()), timeout=WAIT)

    assert (len(token_server.api.requests), token_server.grants) == (1, 1)


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer error="insufficient_scope"',
        'Bearer realm="api", error="insufficient_scope", scope="write"',
        "bearer ERROR = Insufficient_Scope",
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_an_insufficient_scope_causes_no_renewal(
    token_server: TokenServer, manager: TokenManager, challenge: str, status: int
) -> None:  # S32
    token_server.api.answer_always(Answer(status, {"WWW-Authenticate": challenge}, b"scope"))
    auth = BearerAuth(manager, retry_statuses=(401, 403))

    response = requests.get(token_server.api_url, auth=auth, timeout=WAIT)

    assert (response.status_code, response.text) == (status, "scope")
    assert (len(token_server.api.requests), token_server.grants) == (1, 1)


def test_a_challenge_that_only_mentions_scope_causes_a_renewal(
    token_server: TokenServer, session: requests.Session
) -> None:  # S32
    challenge = 'Bearer error="invalid_token", error_description="no insufficient_scope"'
    token_server.api.answer_next(denied(**{"WWW-Authenticate": challenge}))

    assert get(session, token_server).status_code == 200


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_5xx_is_not_replayed(
    token_server: TokenServer, session: requests.Session, status: int
) -> None:  # S34
    token_server.api.answer_next(Answer(status))

    assert get(session, token_server).status_code == status
    assert len(token_server.api.requests) == 1


def test_a_connection_error_is_not_replayed(
    token_server: TokenServer, session: requests.Session
) -> None:  # S34
    token_server.api.answer_next(Reset())

    with pytest.raises(requests.ConnectionError):
        get(session, token_server)

    assert len(token_server.api.requests) == 1


def test_a_replay_that_fails_is_not_replayed(
    token_server: TokenServer, session: requests.Session
) -> None:  # S34
    token_server.api.answer_next(denied(), Reset())

    with pytest.raises(requests.ConnectionError):
        get(session, token_server)

    assert len(token_server.api.requests) == 2


@pytest.fixture(scope="module")
def denying() -> Iterator[tuple[TokenServer, BearerAuth]]:
    with TokenServer() as server:
        yield server, BearerAuth(manager_of(server))


HEADER_TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(challenges=st.lists(HEADER_TEXT, max_size=3))
def test_any_bytes_in_a_challenge_are_accepted(
    denying: tuple[TokenServer, BearerAuth], challenges: list[str]
) -> None:  # S37
    server, auth = denying
    pairs = [("WWW-Authenticate", challenge) for challenge in challenges]
    server.api.answer_always(Answer(401, pairs, b"denied"))

    response = requests.get(server.api_url, auth=auth, timeout=WAIT)

    assert (response.status_code, response.text) == (401, "denied")


def test_a_token_that_was_replaced_meanwhile_costs_no_grant(
    token_server: TokenServer, session: requests.Session, manager: TokenManager
) -> None:  # S38
    token_server.api.answer_next(Hang())
    manager.token()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(get, session, token_server)
        token_server.wait_for_held()
        token_server.expire_all()
        current = manager.refresh().value
        token_server.release()

        assert answer.result(WAIT).status_code == 200
    assert authorizations(token_server)[-1] == [f"Bearer {current}"]
    assert token_server.grants == 2


def test_the_token_of_a_sibling_process_costs_no_grant(
    token_server: TokenServer, tmp_path: Path
) -> None:  # S38
    here, sibling = (manager_of(token_server, store=FileStore(tmp_path)) for _ in range(2))
    here.token()
    token_server.expire_all()
    current = sibling.refresh().value

    response = requests.get(token_server.api_url, auth=BearerAuth(here), timeout=WAIT)

    assert response.status_code == 200
    assert authorizations(token_server)[-1] == [f"Bearer {current}"]
    assert token_server.grants == 2


def test_32_threads_that_get_a_401_at_once_share_one_grant(
    token_server: TokenServer, auth: BearerAuth
) -> None:  # S31, F21
    token_server.api.answer_next(Hang(then=Usual()), times=32)
    auth.manager.token()
    with ThreadPoolExecutor(32) as pool:
        answers = [
            pool.submit(requests.get, token_server.api_url, auth=auth, timeout=WAIT)
            for _ in range(32)
        ]
        token_server.wait_for_held(32)
        token_server.expire_all()
        token_server.release()
        responses = [answer.result(WAIT) for answer in answers]

    assert [it.status_code for it in responses] == [200] * 32
    assert [len(it.history) for it in responses] == [1] * 32
    assert token_server.grants == 2


@pytest.mark.parametrize("trouble", ["refused", "unavailable"])
def test_the_401_is_returned_if_no_other_token_is_available(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:  # S31
    auth = BearerAuth(manager_of(token_server))
    auth.manager.token()
    token_server.expire_all()
    if trouble == "refused":
        token_server.refuse("invalid_grant")
    else:
        token_server.outage(503)

    answers = [requests.get(token_server.api_url, auth=auth, timeout=WAIT) for _ in range(3)]

    for response in answers:
        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}
    said = [it.getMessage() for it in caplog.records if "the API answered 401" in it.getMessage()]
    assert len(said) == 1
    assert "the API answered 401 and the token could not be replaced: " in said[0]


def test_a_401_waits_for_another_token_no_longer_than_the_managers_timeout(
    token_server: TokenServer,
) -> None:  # F17, S31
    manager = manager_of(token_server, timeout=0.2)
    manager.token(timeout=WAIT)
    token_server.expire_all()
    token_server.hang()

    start = time.monotonic()
    response = requests.get(token_server.api_url, auth=BearerAuth(manager), timeout=WAIT)

    assert time.monotonic() - start < WAIT / 2
    assert response.status_code == 401


# --- in the company of what else callers use --------------------------------------------------


def test_an_auth_applied_twice_adds_one_header_and_one_hook(
    token_server: TokenServer, session: requests.Session, auth: BearerAuth
) -> None:  # F24
    request = session.prepare_request(requests.Request("GET", token_server.api_url))
    auth(auth(request))
    token_server.expire_all()

    response = session.send(request)

    assert len(request.hooks["response"]) == 1
    assert response.status_code == 200
    assert [len(values) for values in authorizations(token_server)] == [1, 1]


def test_applying_an_auth_again_updates_the_token(
    token_server: TokenServer, auth: BearerAuth
) -> None:  # F24
    request = requests.Request("GET", token_server.api_url, auth=auth).prepare()
    current = auth.manager.refresh().value

    assert auth(request).headers["Authorization"] == f"Bearer {current}"


def test_a_session_auth_and_a_request_auth_add_one_header(
    token_server: TokenServer, session: requests.Session, auth: BearerAuth
) -> None:  # F24
    seen: list[PreparedRequest] = []

    def look(response: Response, **_: object) -> None:
        seen.append(response.request)

    session.get(token_server.api_url, auth=auth, timeout=WAIT, hooks={"response": look})

    assert [len(values) for values in authorizations(token_server)] == [1]
    assert len(seen[0].hooks["response"]) == 2


def test_the_last_of_two_managers_provides_the_token_and_the_replay(
    token_server: TokenServer, session: requests.Session, auth: BearerAuth
) -> None:  # F24, S59
    last = manager_of(token_server)
    request = auth(requests.Request("GET", token_server.api_url).prepare())
    request = BearerAuth(last)(request)
    assert request.headers["Authorization"] == last.header()
    assert len(request.hooks["response"]) == 1
    token_server.expire_all()

    response = session.send(request, timeout=WAIT)

    assert response.status_code == 200
    assert authorizations(token_server)[-1] == [last.header()] != [auth.manager.header()]


def test_earlier_hooks_of_a_request_get_the_final_answer(
    token_server: TokenServer, session: requests.Session, auth: BearerAuth
) -> None:
    seen: list[int] = []
    request = requests.Request("GET", token_server.api_url).prepare()
    request.register_hook("response", lambda response, **_: seen.append(response.status_code))

    for _ in range(2):
        request = auth(request)
        token_server.expire_all()
        auth.manager.refresh()
        session.send(request, timeout=WAIT)

    assert seen == [200, 200]
    assert len(token_server.api.requests) == 4


def test_a_prepared_request_sent_again_has_a_replay_each_time(
    token_server: TokenServer, session: requests.Session, manager: TokenManager
) -> None:  # F24
    request = session.prepare_request(requests.Request("GET", token_server.api_url))
    for _ in range(3):
        token_server.expire_all()
        manager.refresh()

        response = session.send(request, timeout=WAIT)

        assert response.status_code == 200
        assert [it.status_code for it in response.history] == [401]
        assert len(request.hooks["response"]) == 1
    assert [len(values) for values in authorizations(token_server)] == [1] * 6


def test_the_callers_hooks_get_the_final_answer(
    token_server: TokenServer, session: requests.Session
) -> None:
    seen: list[tuple[str, int]] = []

    def on(name: str, response: Response) -> None:
        response.raise_for_status()
        seen.append((name, response.status_code))

    session.hooks["response"].append(lambda response, **_: on("session", response))
    token_server.api.answer_next(denied())

    get(session, token_server)
    token_server.api.answer_next(Answer(401))
    session.get(
        token_server.api_url,
        timeout=WAIT,
        hooks={"response": [lambda response, **_: on("request", response)]},
        auth=BearerAuth(manager_of(token_server)),
    )

    assert seen == [("session", 200), ("request", 200)]


def test_the_adapters_retries_apply_to_the_replay_too(
    token_server: TokenServer, session: requests.Session
) -> None:
    retries = Retry(3, status_forcelist=[503], backoff_factor=0, allowed_methods=None)
    session.mount("http://", HTTPAdapter(max_retries=retries))
    token_server.api.answer_next(Answer(503), denied(), Answer(503), Answer(503), Answer(200))

    response = session.post(token_server.api_url, data=b"body", timeout=WAIT)

    assert response.status_code == 200
    assert [request.body for request in token_server.api.requests] == [b"body"] * 5
    assert token_server.grants == 2


def test_the_replay_is_sent_with_the_options_of_the_first_request(
    token_server: TokenServer, session: requests.Session
) -> None:
    sent: list[dict[str, object]] = []

    class Recording(HTTPAdapter):
        def send(self, request: PreparedRequest, *args: object, **kwargs: object) -> Response:
            sent.append(kwargs)
            return super().send(request, *args, **kwargs)  # type: ignore[arg-type]  # as they came

    session.mount("http://", Recording())
    token_server.api.answer_next(denied())

    session.get(token_server.api_url, timeout=(3, 4), stream=True).close()

    first, replay = sent
    assert first == replay
    assert (replay["timeout"], replay["stream"]) == ((3, 4), True)


def test_cookies_of_both_answers_are_kept(
    token_server: TokenServer, session: requests.Session
) -> None:
    token_server.api.answer_next(
        denied(**{"Set-Cookie": "first=1; Path=/"}), Answer(200, {"Set-Cookie": "second=2; Path=/"})
    )

    get(session, token_server)

    assert session.cookies.get_dict() == {"first": "1", "second": "2"}


def test_a_waiting_call_ends_with_the_librarys_error(token_server: TokenServer) -> None:
    token_server.refuse("invalid_grant")

    with pytest.raises(requests.RequestException, match="invalid_grant"):
        requests.get(token_server.api_url, auth=BearerAuth(manager_of(token_server)), timeout=WAIT)

    assert token_server.api.requests == ()


def test_threads_share_a_session(token_server: TokenServer, session: requests.Session) -> None:
    barrier = threading.Barrier(8)

    def call(number: int) -> tuple[int, bytes]:
        barrier.wait(WAIT)
        body = f"lead {number}".encode()
        response = session.post(token_server.api_url, data=body, timeout=WAIT)
        return response.status_code, response.request.body  # type: ignore[return-value]  # bytes

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(8)))

    assert answers == [(200, f"lead {number}".encode()) for number in range(8)]
    assert sorted(map(body_of, token_server.api.requests)) == sorted(body for _, body in answers)
    assert token_server.grants == 1


def body_of(request: Recorded) -> bytes:
    return request.body
