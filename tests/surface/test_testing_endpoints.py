"""The endpoints of `evertoken.testing.TokenServer`, and the lifecycle of its tokens."""

from __future__ import annotations

import base64
import hashlib
import math
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode

import freezegun
import pytest
import requests

from evertoken import TokenError, squadrun
from evertoken.testing import Answer, TokenServer
from support.token_client import (
    LONG,
    ask,
    bearer,
    connected,
    form_of,
    granted,
    read_to_end,
    refresh,
    revoke,
    use,
)

if TYPE_CHECKING:
    from evertoken.testing.answers import Json


class TestTokenEndpoint:
    def test_a_password_grant_gives_a_pair_of_tokens(self, token_server: TokenServer) -> None:
        response = ask(token_server)

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        tokens = response.json()
        assert set(tokens) == {
            "access_token",
            "token_type",
            "expires_in",
            "refresh_token",
            "scope",
        }
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] == 36_000
        assert tokens["scope"] == "read write"
        assert len(tokens["access_token"]) == len(tokens["refresh_token"]) == 30
        assert tokens["access_token"] != tokens["refresh_token"]

    @pytest.mark.parametrize(
        ("changes", "status", "error"),
        [
            ({"password": "wrong"}, 400, "invalid_grant"),
            ({"username": "unknown"}, 400, "invalid_grant"),
            ({"client_id": "wrong"}, 401, "invalid_client"),
            ({"client_secret": "wrong"}, 401, "invalid_client"),
            ({"client_secret": None}, 401, "invalid_client"),
            ({"grant_type": "magic"}, 400, "unsupported_grant_type"),
            ({"grant_type": None}, 400, "unsupported_grant_type"),
            ({"username": None}, 400, "invalid_request"),
            ({"password": ""}, 400, "invalid_request"),
            ({"scope": "admin"}, 400, "invalid_scope"),
            ({"scope": ""}, 400, "invalid_scope"),
            ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ],
    )
    def test_errors_have_the_oauth_format(
        self, token_server: TokenServer, changes: dict[str, str | None], status: int, error: str
    ) -> None:
        response = ask(token_server, **changes)

        assert (response.status_code, response.json()["error"]) == (status, error)
        assert token_server.grants == 0

    def test_a_bad_client_is_challenged(self, token_server: TokenServer) -> None:
        challenge = ask(token_server, client_id="wrong").headers["WWW-Authenticate"]

        assert challenge == 'Bearer error="invalid_client"'

    def test_a_missing_field_is_named(self, token_server: TokenServer) -> None:
        described = ask(token_server, username=None).json()["error_description"]

        assert described == "Request is missing username parameter."

    def test_a_json_body_is_not_read_as_a_form(self, token_server: TokenServer) -> None:
        response = requests.post(token_server.token_url, json=form_of(token_server), timeout=LONG)

        assert response.status_code == 400
        assert response.json() == {"error": "unsupported_grant_type"}

    def test_a_repeated_field_is_rejected(self, token_server: TokenServer) -> None:
        fields = [*form_of(token_server).items(), ("username", token_server.username)]
        response = requests.post(token_server.token_url, data=fields, timeout=LONG)

        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")

    def test_a_part_of_the_scope_is_granted_as_requested(self, token_server: TokenServer) -> None:
        assert ask(token_server, scope="read").json()["scope"] == "read"

    def test_any_unicode_credential_is_compared_as_text(self) -> None:
        with TokenServer(username="jörg+&=%", password="密码 \U0001f511") as server:
            assert ask(server).status_code == 200

    def test_only_post_is_allowed(self, token_server: TokenServer) -> None:
        response = requests.get(token_server.token_url, timeout=LONG)

        assert (response.status_code, response.content) == (405, b"")
        assert response.headers["Content-Type"].startswith("text/html")

    def test_a_url_without_the_trailing_slash_redirects(self, token_server: TokenServer) -> None:
        url = token_server.token_url.rstrip("/") + "?a=b"
        response = requests.post(
            url, data=form_of(token_server), timeout=LONG, allow_redirects=False
        )

        assert response.status_code == 301
        assert response.headers["Location"] == "/oauth/token/?a=b"
        assert token_server.grants == 0

    def test_credentials_in_the_query_are_rejected(
        self, token_server: TokenServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        # urllib3 would log the query
        caplog.set_level("INFO", "urllib3")
        url = f"{token_server.token_url}?{urlencode(form_of(token_server))}"
        response = requests.post(url, timeout=LONG)

        assert response.status_code == 400
        assert response.headers["Content-Type"].startswith("text/html")
        assert response.json()["error"] == "invalid_request"

    def test_another_query_is_accepted(self, token_server: TokenServer) -> None:
        url = token_server.token_url + "?tenant=7"

        assert requests.post(url, data=form_of(token_server), timeout=LONG).status_code == 200
        assert token_server.requests[0].query == "tenant=7"

    @pytest.mark.parametrize("secret", ["plain", "a:b %é+ß", ""])
    def test_the_client_may_use_http_basic_form_encoded(self, secret: str) -> None:
        with TokenServer(client_id="an:id", client_secret=secret) as server:
            pair = f"{quote_plus('an:id')}:{quote_plus(secret)}"
            encoded = base64.b64encode(pair.encode()).decode()
            form = form_of(server, client_id=None, client_secret=None)
            response = requests.post(
                server.token_url,
                data=form,
                headers={"Authorization": f"Basic {encoded}"},
                timeout=LONG,
            )

        assert response.status_code == 200

    def test_another_scheme_does_not_authenticate_a_client(self, token_server: TokenServer) -> None:
        pair = f"{token_server.client_id}:{token_server.client_secret}".encode()
        headers = {"Authorization": f"Other {base64.b64encode(pair).decode()}"}
        form = form_of(token_server, client_id=None, client_secret=None)
        response = requests.post(token_server.token_url, data=form, headers=headers, timeout=LONG)

        assert response.status_code == 401

    @pytest.mark.parametrize("value", ["Basic ???", "Basic /w==", "Basic bm9jb2xvbg==", "Basic"])
    def test_after_a_useless_basic_header_the_body_decides(
        self, token_server: TokenServer, value: str
    ) -> None:
        headers = {"Authorization": value}
        good, bad = form_of(token_server), form_of(token_server, client_id=None)

        def status(form: dict[str, str]) -> int:
            url = token_server.token_url
            return requests.post(url, data=form, headers=headers, timeout=LONG).status_code

        assert (status(good), status(bad)) == (200, 401)

    def test_a_client_with_an_empty_secret_is_public(self) -> None:
        with TokenServer(client_secret="") as server:
            assert ask(server, client_secret=None).status_code == 200

    def test_a_refresh_returns_a_new_pair_and_ends_the_old_one(
        self, token_server: TokenServer
    ) -> None:
        old = granted(token_server)
        response = refresh(token_server, old["refresh_token"])

        assert response.status_code == 200
        assert use(token_server, response.json()["access_token"]) == 200
        assert use(token_server, old["access_token"]) == 401
        again = refresh(token_server, old["refresh_token"])
        assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})

    def test_an_access_token_cannot_be_used_to_refresh(self, token_server: TokenServer) -> None:
        assert refresh(token_server, granted(token_server)["access_token"]).status_code == 400

    def test_a_second_password_grant_keeps_the_first_token_valid(
        self, token_server: TokenServer
    ) -> None:
        first, second = granted(token_server), granted(token_server)

        assert use(token_server, first["access_token"]) == 200
        assert use(token_server, second["access_token"]) == 200

    def test_only_the_changed_password_is_accepted_and_tokens_stay_valid(
        self, token_server: TokenServer
    ) -> None:
        token, old = granted(token_server)["access_token"], token_server.password
        token_server.change_password("another")

        assert ask(token_server).status_code == 200
        assert ask(token_server, password=old).json()["error"] == "invalid_grant"
        assert use(token_server, token) == 200


class TestRevocationEndpoint:
    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_revoking_either_token_ends_both(self, token_server: TokenServer, kind: str) -> None:
        tokens = granted(token_server)
        response = revoke(token_server, token=tokens[kind])

        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert use(token_server, tokens["access_token"]) == 401
        assert refresh(token_server, tokens["refresh_token"]).status_code == 400

    def test_revoking_twice_or_an_unknown_token_succeeds(self, token_server: TokenServer) -> None:
        token = granted(token_server)["access_token"]

        assert [revoke(token_server, token=each).status_code for each in (token, token, "x")] == [
            200,
            200,
            200,
        ]

    def test_it_requires_a_client_and_a_token(self, token_server: TokenServer) -> None:
        no_client = revoke(token_server, token="x", client_secret="wrong")
        no_token = revoke(token_server)

        assert (no_client.status_code, no_client.json()["error"]) == (401, "invalid_client")
        assert (no_token.status_code, no_token.json()["error"]) == (400, "invalid_request")

    def test_it_is_scriptable(self, token_server: TokenServer) -> None:
        token = granted(token_server)["access_token"]
        token_server.revocation_endpoint.answer_next(Answer(503, {"Retry-After": "7"}))

        assert revoke(token_server, token=token).headers["Retry-After"] == "7"
        assert use(token_server, token) == 200


class TestApi:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ODD"])
    def test_it_echoes_the_request(self, token_server: TokenServer, method: str) -> None:
        headers = {**bearer(granted(token_server)["access_token"]), "X-Mine": "yes"}
        body = bytes(range(256)) * 1_000
        url = token_server.api_url + "create/7/?page=2"
        response = requests.request(method, url, data=body, headers=headers, timeout=LONG)

        assert response.status_code == 200
        echo = response.json()
        assert echo["method"] == method
        assert echo["path"] == "/api/v4/leads/create/7/"
        assert echo["headers"]["X-Mine"] == "yes"
        assert echo["headers"]["Authorization"] == headers["Authorization"]
        assert echo["body_length"] == len(body)
        assert echo["body_sha256"] == hashlib.sha256(body).hexdigest()

    def test_a_chunked_body_is_decoded(self, token_server: TokenServer) -> None:
        headers = bearer(granted(token_server)["access_token"])
        chunks = [b"one", b"two" * 50_000, b"three"]
        response = requests.post(
            token_server.api_url, data=iter(chunks), headers=headers, timeout=LONG
        )

        assert response.json()["body_sha256"] == hashlib.sha256(b"".join(chunks)).hexdigest()
        assert token_server.api.requests[0].body == b"".join(chunks)

    def test_the_trailer_of_a_chunked_body_is_read_too(self, token_server: TokenServer) -> None:
        with connected(token_server) as client:
            client.sendall(
                b"PUT /api/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3;x=y\r\none\r\n0\r\nTrailer: x\r\n\r\n"
                b"GET /api/ HTTP/1.1\r\nConnection: close\r\n\r\n"
            )
            assert read_to_end(client).count(b"HTTP/1.1 401 ") == 2
        assert [each.body for each in token_server.requests] == [b"one", b""]

    def test_head_has_no_body(self, token_server: TokenServer) -> None:
        with connected(token_server) as client:
            client.sendall(b"HEAD /api/ HTTP/1.1\r\nConnection: close\r\n\r\n")
            answer = read_to_end(client)

        assert answer.startswith(b"HTTP/1.1 401 ")
        assert answer.endswith(b"\r\n\r\n")

    def test_a_request_without_a_token_gets_a_challenge(self, token_server: TokenServer) -> None:
        response = requests.get(token_server.api_url, timeout=LONG)

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'
        assert set(response.json()) == {"detail"}

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token"])
    def test_an_invalid_token_gets_an_error_code(
        self, token_server: TokenServer, scheme: str
    ) -> None:
        headers = {"Authorization": f"{scheme} made-up"}
        response = requests.get(token_server.api_url, headers=headers, timeout=LONG)

        assert response.status_code == 401
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]

    def test_the_scheme_must_be_written_bearer(self, token_server: TokenServer) -> None:
        headers = {"Authorization": f"bearer {granted(token_server)['access_token']}"}

        assert requests.get(token_server.api_url, headers=headers, timeout=LONG).status_code == 401

    def test_a_refresh_token_is_not_accepted(self, token_server: TokenServer) -> None:
        assert use(token_server, granted(token_server)["refresh_token"]) == 401

    def test_it_can_deny_as_squadrun_documents(self) -> None:
        with TokenServer(denial_status=403) as server:
            response = requests.get(server.api_url, headers=bearer("made-up"), timeout=LONG)

        assert response.status_code == 403
        assert "WWW-Authenticate" not in response.headers

    def test_it_can_always_answer_401(self, token_server: TokenServer) -> None:
        token = granted(token_server)["access_token"]
        token_server.api.answer_always(Answer(401, {"WWW-Authenticate": "Bearer"}))

        assert [use(token_server, token) for _ in range(5)] == [401] * 5

    def test_it_can_redirect_to_another_origin(self, token_server: TokenServer) -> None:
        with TokenServer() as other:
            token_server.api.answer_next(Answer.redirect(other.api_url, status=307))
            response = requests.get(token_server.api_url, timeout=LONG)

            assert response.url == other.api_url
            assert [each.method for each in other.requests] == ["GET"]

    def test_any_other_path_is_a_404_and_scriptable(self, token_server: TokenServer) -> None:
        url = token_server.base_url + "/other"
        token_server.elsewhere.answer_next(Answer(204))

        statuses = [requests.get(url, timeout=LONG).status_code for _ in range(2)]
        assert statuses == [204, 404]


class TestLifeOfTokens:
    def test_a_token_expires_on_the_servers_clock(self) -> None:
        now = 1_000.0
        with TokenServer(expires_in=60, clock=lambda: now) as server:
            token = granted(server)["access_token"]
            now = 1_059.9
            assert use(server, token) == 200
            now = 1_060.0
            assert use(server, token) == 401

    def test_a_frozen_wall_clock_is_the_servers_clock(self) -> None:
        with (
            TokenServer(expires_in=3_600) as server,
            freezegun.freeze_time("2026-01-01") as frozen,
        ):
            token = granted(server)["access_token"]
            frozen.tick(3_599)
            assert use(server, token) == 200
            frozen.tick(1)
            assert use(server, token) == 401
            assert server.requests[0].at == 1_767_225_600.0

    def test_the_lifetime_may_change_while_it_runs(self) -> None:
        now = 0.0
        with TokenServer(expires_in=60, clock=lambda: now) as server:
            server.expires_in = "5"
            tokens = granted(server)
            assert tokens["expires_in"] == "5"
            now = 5.0
            assert use(server, tokens["access_token"]) == 401

    @pytest.mark.parametrize(
        "value", [None, True, "soon", [], {"s": 1}, 3599.5, 1e300, 10**400, -1, math.inf, math.nan]
    )
    def test_expires_in_is_returned_as_given(self, token_server: TokenServer, value: Json) -> None:
        token_server.expires_in = value

        assert repr(granted(token_server)["expires_in"]) == repr(value)

    @pytest.mark.parametrize("value", [None, "soon", [], math.nan, 10**400])
    def test_a_token_without_a_numeric_lifetime_never_expires(self, value: Json) -> None:
        now = 0.0
        with TokenServer(expires_in=value, clock=lambda: now) as server:
            token = granted(server)["access_token"]
            now = 1e12
            assert use(server, token) == 200

    def test_members_may_be_added_replaced_and_left_out(self, token_server: TokenServer) -> None:
        token_server.extra = {"token_type": "bearer", "created_at": 7}
        token_server.omit = {"expires_in", "refresh_token", "scope"}
        tokens = granted(token_server)

        assert set(tokens) == {"access_token", "token_type", "created_at"}
        assert tokens["token_type"] == "bearer"

    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_revoke_ends_one_pair(self, token_server: TokenServer, kind: str) -> None:
        dead, alive = granted(token_server), granted(token_server)
        token_server.revoke(dead[kind])

        assert use(token_server, dead["access_token"]) == 401
        assert refresh(token_server, dead["refresh_token"]).status_code == 400
        assert use(token_server, alive["access_token"]) == 200

    def test_revoking_a_token_that_was_never_issued_raises(self, token_server: TokenServer) -> None:
        with pytest.raises(LookupError, match="never issued") as caught:
            token_server.revoke("made-up-token")
        assert "made-up-token" not in str(caught.value)

    def test_revoke_all_ends_refresh_tokens_too(self, token_server: TokenServer) -> None:
        pairs = [granted(token_server) for _ in range(2)]
        token_server.revoke_all()

        assert [use(token_server, each["access_token"]) for each in pairs] == [401, 401]
        assert refresh(token_server, pairs[0]["refresh_token"]).status_code == 400

    def test_expire_all_keeps_refresh_tokens_valid(self, token_server: TokenServer) -> None:
        pairs = [granted(token_server) for _ in range(2)]
        token_server.expire_all()

        assert [use(token_server, each["access_token"]) for each in pairs] == [401, 401]
        assert refresh(token_server, pairs[0]["refresh_token"]).status_code == 200


def refreshed(server: TokenServer, refresh_token: str) -> requests.Response:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    form |= {"client_id": server.client_id, "client_secret": server.client_secret}
    return requests.post(server.token_url, form, timeout=10)


@pytest.mark.parametrize("ending", ["all", "one"])
def test_a_revoked_login_is_not_taken_in_the_grace_period_of_a_replaced_token(ending: str) -> None:
    with TokenServer() as server:
        server.grace = 60
        first = server.log_in()
        newest = refreshed(server, first).json()["refresh_token"]
        assert refreshed(server, first).status_code == 200

        server.revoke_all() if ending == "all" else server.revoke(newest)
        assert refreshed(server, first).status_code == 400


def test_a_request_for_an_unknown_scope_is_no_grant() -> None:
    with TokenServer(scope="read") as server:
        form = {"grant_type": "client_credentials", "scope": "everything"}
        form |= {"client_id": server.client_id, "client_secret": server.client_secret}
        answer = requests.post(server.token_url, form, timeout=10)

        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
        assert server.grants == 0


def test_recover_ends_the_wait_of_managers_that_are_gone(squadrun_environment: TokenServer) -> None:
    def call() -> int:
        # one for each call, as code under test may have it
        return requests.get(
            squadrun_environment.api_url, auth=squadrun.auth(), timeout=10
        ).status_code

    squadrun_environment.outage(503)
    with pytest.raises(TokenError):
        call()
    squadrun_environment.recover()
    assert call() == 200
