"""A login on another device (RFC 8628): what is posted, how often, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from evertoken import GrantRefused, GrantUnavailable, InvalidTokenResponse
from evertoken.errors import TokenError
from evertoken.grants import device
from evertoken.grants.client_auth import Client
from evertoken.testing import Answer, Cut

if TYPE_CHECKING:
    from evertoken.grants.response import Granted
    from evertoken.testing import TokenServer


def client_of(server: TokenServer) -> Client:
    return Client(server.client_id, server.client_secret, "body")


def begun(server: TokenServer, scope: str | None = None) -> device.DeviceLogin:
    return device.begin(server.device_url, client_of(server), scope)


def waited(server: TokenServer, login: device.DeviceLogin, *, polls: int = 1) -> list[float]:
    """The pauses of a wait in which the user approves after so many polls."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == polls:
            server.approve_devices()

    granted: Granted = device.wait(server.token_url, client_of(server), login, sleep=sleep)
    assert granted.refresh_token
    return pauses


def test_a_code_is_shown_and_polled_for_until_the_user_approves(token_server: TokenServer) -> None:
    login = begun(token_server, "read")
    assert waited(token_server, login, polls=3) == [token_server.device_interval] * 3
    assert login.user_code in str(login.page_with_code)
    asked, *polls = token_server.requests
    assert asked.form["scope"] == ["read"]
    assert [each.form["grant_type"] for each in polls] == [[device.GRANT_TYPE]] * 3
    assert login.device_code not in repr(login)


def test_a_public_client_names_itself_alone(token_server: TokenServer) -> None:
    token_server.client_secret = ""
    client = Client(token_server.client_id, None, "body")
    login = device.begin(token_server.device_url, client)
    token_server.approve_devices()
    device.wait(token_server.token_url, client, login, sleep=lambda _: None)
    assert all("client_secret" not in each.form for each in token_server.requests)
    assert all(each.form["client_id"] == [client.identity] for each in token_server.requests)


def test_a_slow_down_lengthens_the_pauses(token_server: TokenServer) -> None:
    login = begun(token_server)
    token_server.token_endpoint.answer_next(Answer.error("slow_down"))
    first, second = waited(token_server, login, polls=2)
    assert second == first + device.SLOWER


def test_a_lost_answer_is_polled_for_again(token_server: TokenServer) -> None:
    login = begun(token_server)
    token_server.token_endpoint.answer_next(Cut("head", keep=0))
    assert len(waited(token_server, login, polls=2)) == 2


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_request"])
def test_any_other_error_ends_the_wait(token_server: TokenServer, error: str) -> None:
    login = begun(token_server)
    token_server.refuse(error)
    with pytest.raises(GrantUnavailable, match=error):
        waited(token_server, login)
    assert token_server.token_requests == 1


def test_a_user_who_does_not_come_ends_the_wait(token_server: TokenServer) -> None:
    token_server.device_endpoint.answer_next(
        Answer.json(
            {
                "device_code": "planted-device-code",
                "user_code": "ABCD",
                "verification_uri": "https://device.example/",
                "expires_in": 0.001,
            }
        )
    )
    login = begun(token_server)
    assert login.interval == device.INTERVAL
    token_server.refuse("authorization_pending")
    with pytest.raises(GrantUnavailable, match="in time"):
        waited(token_server, login, polls=99)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer.error("invalid_client", status=401), GrantRefused),
        (Answer(404), GrantUnavailable),
        (Answer.json({"user_code": "ABCD"}), InvalidTokenResponse),
        (Answer.json({"device_code": 7, "user_code": "A", "verification_uri": "u"}), TokenError),
        (Answer(200, {}, b"<html>"), TokenError),
    ],
)
def test_a_server_without_such_logins_is_a_typed_error(
    token_server: TokenServer, answer: Answer, kind: type[TokenError]
) -> None:
    token_server.device_endpoint.answer_next(answer)
    with pytest.raises(kind) as caught:
        begun(token_server)
    assert token_server.client_secret not in str(caught.value)
