"""Revocation (RFC 7009) on the wire, and the state of the token afterwards."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, RefreshPolicy, RevocationFailed
from evertoken.engine.naming import whose
from evertoken.events import TokenRevoked
from evertoken.runtime import reports
from evertoken.testing import Answer, Cut, Delay, Drip, Endless, Gzip, Hang, Raw
from support.fleet import eventually
from support.http_clients import grant_of, manager_of

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from evertoken.events import Event
    from evertoken.testing import Behaviour, Recorded, TokenServer


def asked(request: Recorded) -> tuple[str, str]:
    return request.form["token_type_hint"][0], request.form["token"][0]


@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_the_refresh_token_goes_first(
    token_server: TokenServer, client_auth: Literal["body", "basic"]
) -> None:  # S39
    grant = grant_of(token_server, client_auth=client_auth)
    manager = manager_of(token_server, grant=grant)
    token = manager.token()

    manager.revoke()

    requests = token_server.revocation_endpoint.requests
    assert list(map(asked, requests)) == [
        ("refresh_token", token.refresh_token),
        ("access_token", token.value),
    ]
    for request in requests:
        assert request.method == "POST"
        assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert ("Authorization" in request.headers) is (client_auth == "basic")
        assert ("client_secret" in request.form) is (client_auth == "body")


def test_without_a_refresh_token_the_access_token_goes_alone(token_server: TokenServer) -> None:
    token_server.omit = ["refresh_token"]
    manager = manager_of(token_server)
    token = manager.token()

    manager.revoke()

    assert list(map(asked, token_server.revocation_endpoint.requests)) == [
        ("access_token", token.value)
    ]


def test_the_access_token_is_revoked_though_the_refresh_token_was_not(
    token_server: TokenServer,
) -> None:  # S39
    token_server.revocation_endpoint.answer_next(Answer(503, {"Retry-After": "9"}))
    manager = manager_of(token_server)
    manager.token()

    with pytest.raises(RevocationFailed) as caught:
        manager.revoke()

    assert (caught.value.status, caught.value.retry_after) == (503, 9)
    hints = [asked(request)[0] for request in token_server.revocation_endpoint.requests]
    assert hints == ["refresh_token", "access_token"]


HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    "behaviour",
    [
        Answer(200, HTML),
        Answer(201, HTML),
        Answer(202, {"Content-Type": "application/json"}, b"{}"),
        Answer(204),
        Answer.error("invalid_token"),
        Answer(200, HTML, b"<html>"),
        Answer(200, {"Content-Type": "application/json"}, b"{}"),
        Answer(200, {"Content-Type": "application/json"}, b"\x00\xff"),
        Answer(200, {"Content-Encoding": "br"}, b"no such thing"),
        Gzip(Answer(200, HTML, bytes(4 << 20))),
        Endless(),
        Cut("body", then=Answer(200, HTML, b"<html>")),
        Raw(b"HTTP/1.1 200 OK\r\n\r\n"),
        Drip(0.5, then=Answer(200, HTML, b"<html>")),
    ],
    ids=[
        "empty HTML",
        "201",
        "202",
        "204",
        "dead already",
        "HTML",
        "empty JSON",
        "garbage",
        "odd coding",
        "4 MiB in gzip",
        "endless",
        "cut",
        "no length",
        "slow",
    ],
)
def test_any_2xx_is_a_success_and_so_is_a_token_that_is_already_dead(
    token_server: TokenServer, behaviour: Behaviour
) -> None:  # S40, S62
    events: list[Event] = []
    manager = manager_of(token_server, on_event=events.append)
    manager.token()
    token_server.revocation_endpoint.answer_always(behaviour)

    manager.revoke()

    assert manager.status().state == "none"
    reports.catch_up(5.0)
    assert events[-1] == TokenRevoked(confirmed=True, **whose(manager.grant.key, manager.grant))
    assert len(token_server.revocation_endpoint.requests) == 2


@pytest.mark.parametrize(
    "behaviour",
    [
        Answer(503),
        Answer.error("invalid_client", status=401),
        Answer.redirect("/elsewhere/"),
        Answer.error("invalid_token", status=401),
        Answer.error("invalid_request"),
        Raw(b"nonsense\r\n"),
        Cut("head", keep=0),
        Hang(),
    ],
    ids=[
        "outage",
        "refusal",
        "redirect",
        "another status",
        "another error",
        "nonsense",
        "hang-up",
        "silence",
    ],
)
def test_both_tokens_are_dropped_whatever_the_answer(
    token_server: TokenServer, behaviour: Behaviour, tmp_path: Path
) -> None:  # S40
    events: list[Event] = []
    store = FileStore(tmp_path / "tokens")
    grant = grant_of(token_server, timeout=0.2)
    manager = manager_of(token_server, grant=grant, store=store, on_event=events.append)
    dropped = manager.token()
    token_server.revocation_endpoint.answer_always(behaviour)

    with pytest.raises(RevocationFailed) as caught:
        manager.revoke()

    assert caught.value.__cause__ is caught.value.__context__ is None
    assert dropped.value not in str(caught.value)
    reports.catch_up(5.0)
    assert events[-1] == TokenRevoked(confirmed=False, **whose(manager.grant.key, manager.grant))
    assert manager.status().state == "none"
    for file in (tmp_path / "tokens").iterdir():
        assert dropped.value.encode() not in file.read_bytes()
    assert manager.token().value != dropped.value


def test_an_unavailable_endpoint_passes_on_its_retry_after(
    token_server: TokenServer,
) -> None:  # S42
    token_server.revocation_endpoint.answer_always(Answer(503, {"Retry-After": "120"}))
    grant = grant_of(token_server)

    with pytest.raises(RevocationFailed) as caught:
        grant.revoke(grant.request())

    assert (caught.value.status, caught.value.retry_after) == (503, 120)
    assert caught.value.transient


def test_the_oauth_error_of_a_revocation_is_readable(token_server: TokenServer) -> None:  # S42
    error = Answer.error("unsupported_token_type", description="Not that one.")
    token_server.revocation_endpoint.answer_always(error)
    grant = grant_of(token_server)

    with pytest.raises(RevocationFailed, match="unsupported_token_type") as caught:
        grant.revoke(grant.request())

    assert caught.value.error == "unsupported_token_type"
    assert caught.value.description == "Not that one."
    assert (caught.value.status, caught.value.content_type) == (400, "application/json")


def test_a_token_echoed_by_the_server_is_masked(token_server: TokenServer) -> None:  # S25
    grant = grant_of(token_server)
    token = grant.request()
    error = Answer.error("invalid_request", description=f"what is {token.refresh_token}?")
    token_server.revocation_endpoint.answer_always(error)

    with pytest.raises(RevocationFailed, match=r"what is \*\*\*\?"):
        grant.revoke(token)


def test_without_a_revocation_url_the_token_is_dropped_and_the_error_says_it_still_lives(
    token_server: TokenServer,
) -> None:  # S40
    grant = grant_of(token_server, revoke_url="")
    manager = manager_of(token_server, grant=grant)
    manager.token()

    with pytest.raises(RevocationFailed, match="no revoke_url was given"):
        manager.revoke()

    assert manager.status().state == "none"
    assert token_server.revocation_endpoint.requests == ()


def test_both_requests_share_one_deadline(token_server: TokenServer) -> None:  # F17
    grant = grant_of(token_server, deadline=0.5)
    token = grant.request()
    token_server.revocation_endpoint.answer_always(Hang())

    start = time.monotonic()
    with pytest.raises(RevocationFailed, match="did not answer in full within"):
        grant.revoke(token)

    # the second request gets its own second, so that a failed first one does not prevent it
    assert 1.4 < time.monotonic() - start < 2.5
    assert len(token_server.revocation_endpoint.requests) == 2


def test_no_sibling_sends_a_revoked_token_later_than_recheck(
    token_server: TokenServer, tmp_path: Path
) -> None:  # S41
    policy = RefreshPolicy(recheck=0.2)
    here, sibling = (
        manager_of(token_server, store=FileStore(tmp_path / "tokens"), policy=policy)
        for _ in range(2)
    )
    revoked = here.token().value
    assert sibling.token().value == revoked

    here.revoke()
    eventually(lambda: sibling.token().value != revoked, within=0.2 + 1)

    assert here.token().value != revoked
    assert token_server.grants == 2


def test_a_renewal_in_flight_does_not_bring_back_a_revoked_token(token_server: TokenServer) -> None:
    manager = manager_of(token_server)
    manager.token()
    token_server.token_endpoint.answer_next(Delay(0.3))
    renewing = threading.Thread(target=manager.refresh)
    renewing.start()
    token_server.token_endpoint.wait_for_requests(2)

    manager.revoke()
    renewing.join(10)

    assert manager.status().state == "none"
