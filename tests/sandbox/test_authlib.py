"""The main use cases on Authlib's server, which is not Django OAuth Toolkit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("authlib", reason="needs Authlib: pip install -e '.[bench]'")

from evertoken import GrantRefused, GrantUnavailable, PasswordGrant
from support.authlib_server import PASSWORD, USERNAME, AuthlibServer, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_BODY = Client("in body", "s%3A+ecret/é", "client_secret_post")
BY_BASIC = Client("by-basic", "s%3A+ecret", "client_secret_basic")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AuthlibServer]:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    with AuthlibServer(IN_BODY, BY_BASIC) as server:
        yield server


def grant_of(server: AuthlibServer, client: Client, **changes: Any) -> PasswordGrant:
    given = {
        "client_id": client.client_id,
        "client_secret": client.secret,
        "username": USERNAME,
        "password": PASSWORD,
        "revoke_url": f"{server.url}/revoke",
        **changes,
    }
    return PasswordGrant(f"{server.url}/token", **given)


@pytest.mark.parametrize(
    ("client", "client_auth"), [(IN_BODY, "body"), (BY_BASIC, "basic")], ids=["body", "basic"]
)
def test_a_token_is_granted_and_revoked(
    server: AuthlibServer, client: Client, client_auth: str
) -> None:
    grant = grant_of(server, client, client_auth=client_auth)

    token = grant.request()
    assert token.value in server.issued
    assert token.lifetime == pytest.approx(864_000)

    grant.revoke(token)
    # it is already dead
    grant.revoke(token)
    assert server.issued[token.value].revoked


def test_raw_credentials_are_refused_and_the_error_proposes_encoded_ones(
    server: AuthlibServer,
) -> None:
    with pytest.raises(GrantRefused, match='as RFC 6749 says: client_auth="basic"') as caught:
        grant_of(server, BY_BASIC, client_auth="basic-raw").request()

    assert (caught.value.error, caught.value.status) == ("invalid_client", 401)


def test_the_wrong_method_is_refused_and_the_error_proposes_the_other_one(
    server: AuthlibServer,
) -> None:
    with pytest.raises(GrantRefused, match='client_auth="basic"'):
        grant_of(server, BY_BASIC).request()


def test_a_wrong_password_is_not_a_refusal_at_this_server(server: AuthlibServer) -> None:
    with pytest.raises(GrantUnavailable) as caught:
        grant_of(server, IN_BODY, password="wrong-password").request()

    assert caught.value.error == "invalid_request"
    assert not caught.value.transient
