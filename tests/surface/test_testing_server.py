"""The token server of `evertoken.testing`: what its users may rely on."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import math
import select
import socket
import ssl
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode, urlsplit

import freezegun
import pytest
import requests
import trustme

from evertoken import testing
from evertoken.testing import (
    Answer,
    Behaviour,
    Cut,
    Delay,
    Drip,
    EarlyHints,
    Endless,
    Exchange,
    Gzip,
    Hang,
    Raw,
    Recorded,
    Reset,
    TokenServer,
    Usual,
)
from evertoken.testing.answers import Body, HangUp, Head, Pause
from evertoken.testing.gate import ClosedError
from evertoken.testing.headers import Headers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.testing.answers import Json, Step

LONG = 60.0  # seconds that no test may really wait
SOME_REQUEST = Recorded("GET", "/", query="", headers=Headers(), form={}, body=b"", at=0.0)
PROMPT = 5.0  # seconds within which what does not wait is surely done


def form_of(server: TokenServer, **changes: str | None) -> dict[str, str]:
    """A good password grant, with fields replaced, added, or left out where None."""
    fields = {
        "grant_type": "password",
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "username": server.username,
        "password": server.password,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def ask(server: TokenServer, **changes: str | None) -> requests.Response:
    return requests.post(
        server.token_url, data=form_of(server, **changes), timeout=LONG, allow_redirects=False
    )


def granted(server: TokenServer) -> dict[str, str]:
    response = ask(server)
    assert response.status_code == 200
    tokens: dict[str, str] = response.json()
    return tokens


def refresh(server: TokenServer, refresh_token: str | None) -> requests.Response:
    return ask(
        server,
        grant_type="refresh_token",
        refresh_token=refresh_token,
        username=None,
        password=None,
    )


def revoke(server: TokenServer, **changes: str | None) -> requests.Response:
    fields = form_of(server, grant_type=None, username=None, password=None, **changes)
    return requests.post(server.revoke_url, data=fields, timeout=LONG)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def use(server: TokenServer, token: str) -> int:
    return requests.get(server.api_url, headers=bearer(token), timeout=LONG).status_code


@contextmanager
def connected(server: TokenServer) -> Iterator[socket.socket]:
    url = urlsplit(server.base_url)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=LONG) as client:
        yield client


def grant_bytes(server: TokenServer) -> bytes:
    body = urlencode(form_of(server)).encode()
    return (
        b"POST /oauth/token/ HTTP/1.1\r\nHost: it\r\nConnection: close\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def on_wire(server: TokenServer) -> bytes:
    """Ask for a token; all that comes back until the connection ends."""
    with connected(server) as client:
        client.sendall(grant_bytes(server))
        return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def read_exactly(client: socket.socket, size: int) -> bytes:
    with client.makefile("rb", buffering=0) as stream:
        return b"".join(stream.read(1) or b"" for _ in range(size))


def is_silent(client: socket.socket) -> bool:
    return not select.select([client], [], [], 0.05)[0]


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
            ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
            ({"grant_type": None}, 400, "unsupported_grant_type"),
            ({"username": None}, 400, "invalid_request"),
            ({"password": ""}, 400, "invalid_request"),
            ({"scope": "admin"}, 400, "invalid_scope"),
            ({"scope": ""}, 400, "invalid_scope"),
            ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ],
    )
    def test_what_is_wrong_is_said_as_oauth_says_it(
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

    def test_a_json_body_is_no_form(self, token_server: TokenServer) -> None:
        response = requests.post(token_server.token_url, json=form_of(token_server), timeout=LONG)

        assert response.status_code == 400
        assert response.json() == {"error": "unsupported_grant_type"}

    def test_no_field_may_come_twice(self, token_server: TokenServer) -> None:
        fields = [*form_of(token_server).items(), ("username", token_server.username)]
        response = requests.post(token_server.token_url, data=fields, timeout=LONG)

        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")

    def test_a_part_of_the_scope_is_granted_as_asked(self, token_server: TokenServer) -> None:
        assert ask(token_server, scope="read").json()["scope"] == "read"

    def test_any_unicode_credential_is_compared_as_text(self) -> None:
        with TokenServer(username="jörg+&=%", password="密码 \U0001f511") as server:
            assert ask(server).status_code == 200

    def test_only_post_is_allowed(self, token_server: TokenServer) -> None:
        response = requests.get(token_server.token_url, timeout=LONG)

        assert (response.status_code, response.content) == (405, b"")
        assert response.headers["Content-Type"].startswith("text/html")

    def test_without_its_last_slash_the_url_redirects(self, token_server: TokenServer) -> None:
        url = token_server.token_url.rstrip("/") + "?a=b"
        response = requests.post(
            url, data=form_of(token_server), timeout=LONG, allow_redirects=False
        )

        assert response.status_code == 301
        assert response.headers["Location"] == "/oauth/token/?a=b"
        assert token_server.grants == 0

    def test_credentials_in_the_query_are_refused(self, token_server: TokenServer) -> None:
        url = f"{token_server.token_url}?{urlencode(form_of(token_server))}"
        response = requests.post(url, timeout=LONG)

        assert response.status_code == 400
        assert response.headers["Content-Type"].startswith("text/html")
        assert response.json()["error"] == "invalid_request"

    def test_another_query_is_let_through(self, token_server: TokenServer) -> None:
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

    def test_another_scheme_is_no_client_authentication(self, token_server: TokenServer) -> None:
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

    def test_a_refresh_gives_a_new_pair_and_kills_the_old_one(
        self, token_server: TokenServer
    ) -> None:
        old = granted(token_server)
        response = refresh(token_server, old["refresh_token"])

        assert response.status_code == 200
        assert use(token_server, response.json()["access_token"]) == 200
        assert use(token_server, old["access_token"]) == 401
        again = refresh(token_server, old["refresh_token"])
        assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})

    def test_an_access_token_refreshes_nothing(self, token_server: TokenServer) -> None:
        assert refresh(token_server, granted(token_server)["access_token"]).status_code == 400

    def test_a_second_password_grant_leaves_the_first_token_alive(
        self, token_server: TokenServer
    ) -> None:
        first, second = granted(token_server), granted(token_server)

        assert use(token_server, first["access_token"]) == 200
        assert use(token_server, second["access_token"]) == 200

    def test_a_changed_password_is_the_only_one_and_tokens_stay(
        self, token_server: TokenServer
    ) -> None:
        token, old = granted(token_server)["access_token"], token_server.password
        token_server.change_password("another")

        assert ask(token_server).status_code == 200
        assert ask(token_server, password=old).json()["error"] == "invalid_grant"
        assert use(token_server, token) == 200


class TestRevocationEndpoint:
    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_either_token_kills_both(self, token_server: TokenServer, kind: str) -> None:
        tokens = granted(token_server)
        response = revoke(token_server, token=tokens[kind])

        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert use(token_server, tokens["access_token"]) == 401
        assert refresh(token_server, tokens["refresh_token"]).status_code == 400

    def test_twice_or_unknown_is_a_success_too(self, token_server: TokenServer) -> None:
        token = granted(token_server)["access_token"]

        assert [revoke(token_server, token=each).status_code for each in (token, token, "x")] == [
            200,
            200,
            200,
        ]

    def test_it_wants_a_client_and_a_token(self, token_server: TokenServer) -> None:
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
    def test_it_echoes_what_it_got(self, token_server: TokenServer, method: str) -> None:
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

    def test_a_chunked_body_is_put_together(self, token_server: TokenServer) -> None:
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

    def test_no_token_is_challenged(self, token_server: TokenServer) -> None:
        response = requests.get(token_server.api_url, timeout=LONG)

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'
        assert set(response.json()) == {"detail"}

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token"])
    def test_a_bad_token_is_called_invalid(self, token_server: TokenServer, scheme: str) -> None:
        headers = {"Authorization": f"{scheme} made-up"}
        response = requests.get(token_server.api_url, headers=headers, timeout=LONG)

        assert response.status_code == 401
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]

    def test_the_scheme_must_be_written_bearer(self, token_server: TokenServer) -> None:
        headers = {"Authorization": f"bearer {granted(token_server)['access_token']}"}

        assert requests.get(token_server.api_url, headers=headers, timeout=LONG).status_code == 401

    def test_a_refresh_token_opens_nothing(self, token_server: TokenServer) -> None:
        assert use(token_server, granted(token_server)["refresh_token"]) == 401

    def test_it_can_deny_as_squadrun_documents(self) -> None:
        with TokenServer(denial_status=403) as server:
            response = requests.get(server.api_url, headers=bearer("made-up"), timeout=LONG)

        assert response.status_code == 403
        assert "WWW-Authenticate" not in response.headers

    def test_it_can_say_401_for_ever(self, token_server: TokenServer) -> None:
        token = granted(token_server)["access_token"]
        token_server.api.answer_always(Answer(401, {"WWW-Authenticate": "Bearer"}))

        assert [use(token_server, token) for _ in range(5)] == [401] * 5

    def test_it_can_redirect_to_another_origin(self, token_server: TokenServer) -> None:
        with TokenServer() as other:
            token_server.api.answer_next(Answer.redirect(other.api_url, status=307))
            response = requests.get(token_server.api_url, timeout=LONG)

            assert response.url == other.api_url
            assert [each.method for each in other.requests] == ["GET"]

    def test_any_other_path_is_not_found_and_scriptable(self, token_server: TokenServer) -> None:
        url = token_server.base_url + "/other"
        token_server.elsewhere.answer_next(Answer(204))

        statuses = [requests.get(url, timeout=LONG).status_code for _ in range(2)]
        assert statuses == [204, 404]


class TestLifeOfTokens:
    def test_a_token_ends_by_the_servers_clock(self) -> None:
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
    def test_expires_in_is_said_as_given(self, token_server: TokenServer, value: Json) -> None:
        token_server.expires_in = value

        assert repr(granted(token_server)["expires_in"]) == repr(value)

    @pytest.mark.parametrize("value", [None, "soon", [], math.nan, 10**400])
    def test_what_is_no_number_of_seconds_never_ends(self, value: Json) -> None:
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
    def test_revoke_kills_one_pair(self, token_server: TokenServer, kind: str) -> None:
        dead, alive = granted(token_server), granted(token_server)
        token_server.revoke(dead[kind])

        assert use(token_server, dead["access_token"]) == 401
        assert refresh(token_server, dead["refresh_token"]).status_code == 400
        assert use(token_server, alive["access_token"]) == 200

    def test_revoking_what_was_never_given_out_is_a_mistake_of_the_test(
        self, token_server: TokenServer
    ) -> None:
        with pytest.raises(LookupError, match="never gave out") as caught:
            token_server.revoke("made-up-token")
        assert "made-up-token" not in str(caught.value)

    def test_revoke_all_kills_refresh_tokens_too(self, token_server: TokenServer) -> None:
        pairs = [granted(token_server) for _ in range(2)]
        token_server.revoke_all()

        assert [use(token_server, each["access_token"]) for each in pairs] == [401, 401]
        assert refresh(token_server, pairs[0]["refresh_token"]).status_code == 400

    def test_expire_all_leaves_refresh_tokens_alive(self, token_server: TokenServer) -> None:
        pairs = [granted(token_server) for _ in range(2)]
        token_server.expire_all()

        assert [use(token_server, each["access_token"]) for each in pairs] == [401, 401]
        assert refresh(token_server, pairs[0]["refresh_token"]).status_code == 200


class TestScript:
    def test_the_next_requests_get_what_is_scripted_in_order(
        self, token_server: TokenServer
    ) -> None:
        token_server.answer_next(Answer(500), Usual(), times=2)
        token_server.answer_next(Answer(502))

        statuses = [ask(token_server).status_code for _ in range(6)]
        assert statuses == [500, 200, 500, 200, 502, 200]

    def test_what_is_next_comes_before_what_is_always(self, token_server: TokenServer) -> None:
        token_server.token_endpoint.answer_always(Answer(500))
        token_server.answer_next(Answer(502))

        assert [ask(token_server).status_code for _ in range(3)] == [502, 500, 500]

    def test_an_endpoint_does_not_touch_another(self, token_server: TokenServer) -> None:
        token = granted(token_server)["access_token"]
        token_server.outage()

        assert use(token_server, token) == 200

    def test_recover_drops_everything_scripted(self, token_server: TokenServer) -> None:
        token_server.answer_next(Answer(500), times=9)
        token_server.outage()
        token_server.api.answer_always(Answer(500))
        token_server.recover()

        assert use(token_server, granted(token_server)["access_token"]) == 200

    def test_refuse(self, token_server: TokenServer) -> None:
        token_server.refuse("unauthorized_client", status=401, description="Not you.")
        response = ask(token_server)

        assert response.status_code == 401
        assert response.json() == {
            "error": "unauthorized_client",
            "error_description": "Not you.",
        }
        assert token_server.grants == 0

    @pytest.mark.parametrize(
        ("status", "retry_after", "said"),
        [
            (503, None, None),
            (503, 3, "3"),
            (429, 1.5, "1.5"),
            (429, "Fri, 01 Jan 2027 00:00:00 GMT", "Fri, 01 Jan 2027 00:00:00 GMT"),
        ],
    )
    def test_outage(
        self,
        token_server: TokenServer,
        status: int,
        retry_after: float | str | None,
        said: str | None,
    ) -> None:
        token_server.outage(status, retry_after=retry_after)
        response = ask(token_server)

        assert (response.status_code, response.headers.get("Retry-After")) == (status, said)
        assert response.content == b""

    def test_latency_holds_every_answer_back(self, token_server: TokenServer) -> None:
        token_server.latency = 0.1
        assert token_server.token_endpoint.latency == token_server.latency == 0.1
        token_server.answer_next(Answer(500))
        for status in (500, 200):
            start = time.monotonic()
            assert ask(token_server).status_code == status
            assert time.monotonic() - start >= 0.1

    def test_ones_own_behaviour_sees_the_request(self, token_server: TokenServer) -> None:
        class OddOnesFail:
            def steps(self, exchange: Exchange) -> Iterator[Step]:
                odd = exchange.request.query == "odd"
                chosen: Behaviour = Answer(500) if odd else Usual()
                yield from chosen.steps(exchange)

        token_server.api.answer_always(OddOnesFail())
        url = token_server.api_url
        statuses = [requests.get(url + query, timeout=LONG).status_code for query in ("?odd", "")]

        assert statuses == [500, 401]


class TestAnswer:
    def test_it_travels_as_given_with_its_length(self, token_server: TokenServer) -> None:
        token_server.answer_next(Answer(418, {"X-One": "é"}, b"\x00\xff"))

        assert on_wire(token_server) == (
            b"HTTP/1.1 418 I'm a Teapot\r\nX-One: \xe9\r\nContent-Length: 2\r\n\r\n\x00\xff"
        )

    def test_a_status_that_nobody_knows_has_no_phrase(self, token_server: TokenServer) -> None:
        token_server.answer_next(Answer(299))

        assert on_wire(token_server).startswith(b"HTTP/1.1 299 \r\n")

    def test_a_header_field_may_come_twice(self, token_server: TokenServer) -> None:
        fields = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")]
        token_server.answer_next(Answer(401, fields))

        response = ask(token_server)
        assert response.raw.headers.getlist("WWW-Authenticate") == ["Basic", "Bearer"]

    def test_a_length_of_its_own_stands_and_ends_the_connection(
        self, token_server: TokenServer
    ) -> None:
        token_server.answer_next(Answer(200, {"content-length": "9"}, b"short"))

        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            ask(token_server)

    @pytest.mark.parametrize("status", [103, 204])
    def test_where_no_length_may_be_none_is_said(
        self, token_server: TokenServer, status: int
    ) -> None:
        token_server.answer_next(Answer(status))

        assert b"content-length" not in on_wire(token_server).lower()

    def test_a_header_beyond_latin_1_is_refused_when_it_is_written(self) -> None:
        with pytest.raises(ValueError, match="latin-1"):
            Answer(200, {"X": "密"})

    def test_json_and_errors(self, token_server: TokenServer) -> None:
        token_server.answer_next(
            Answer.json([1, None], status=202, headers={"X": "y"}), Answer.error("invalid_grant")
        )
        listed, refused = ask(token_server), ask(token_server)

        assert (listed.status_code, listed.json()) == (202, [1, None])
        assert listed.headers["Content-Type"] == "application/json"
        assert listed.headers["X"] == "y"
        assert (refused.status_code, refused.json()) == (400, {"error": "invalid_grant"})

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects(self, token_server: TokenServer, status: int) -> None:
        token_server.answer_next(Answer.redirect("https://elsewhere.example/", status=status))
        response = ask(token_server)

        assert response.status_code == status
        assert response.headers["Location"] == "https://elsewhere.example/"

    def test_connections_are_kept_open(self, token_server: TokenServer) -> None:
        host = urlsplit(token_server.base_url).netloc
        with closing(http.client.HTTPConnection(host, timeout=LONG)) as connection:
            connection.connect()
            local = connection.sock.getsockname()
            for _ in range(3):
                connection.request("GET", "/api/")
                assert connection.getresponse().read()
                assert connection.sock.getsockname() == local


class TestFaults:
    def test_raw_bytes_need_not_be_http(self, token_server: TokenServer) -> None:
        token_server.answer_next(Raw(b"\x00not http"))

        assert on_wire(token_server) == b"\x00not http"
        assert token_server.grants == 0

    def test_reset(self, token_server: TokenServer) -> None:
        token_server.answer_next(Reset())

        with pytest.raises(ConnectionResetError):
            on_wire(token_server)
        assert token_server.grants == 0

    def test_a_hang_is_silent_until_released_and_then_goes_on(
        self, token_server: TokenServer
    ) -> None:
        token_server.hang()
        with ThreadPoolExecutor() as pool:
            answers = [pool.submit(ask, token_server) for _ in range(3)]
            token_server.wait_for_held(3)
            assert token_server.grants == 0
            assert not any(answer.done() for answer in answers)
            token_server.release()
            assert [answer.result(LONG).status_code for answer in answers] == [200] * 3

    def test_a_release_holds_for_those_that_hang_already(self, token_server: TokenServer) -> None:
        token_server.release()
        token_server.answer_next(Hang(Answer(500)), times=2)
        with ThreadPoolExecutor() as pool:
            for _ in range(2):
                answer = pool.submit(ask, token_server)
                token_server.wait_for_held()
                token_server.release()
                assert answer.result(LONG).status_code == 500

    def test_recover_releases(self, token_server: TokenServer) -> None:
        token_server.hang()
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(ask, token_server)
            token_server.wait_for_held()
            token_server.recover()
            assert answer.result(LONG).status_code == 200
        assert ask(token_server).status_code == 200

    def test_waiting_for_a_hang_that_does_not_come_ends(self, token_server: TokenServer) -> None:
        with pytest.raises(TimeoutError, match=r"0 of 1 requests held within 0\.01 s"):
            token_server.wait_for_held(timeout=0.01)

    def test_delay_does_the_work_first(self, token_server: TokenServer) -> None:
        token_server.answer_next(Delay(LONG))
        with connected(token_server) as client:
            client.sendall(grant_bytes(token_server))
            while token_server.grants == 0:  # bounded by the timeout of the test
                time.sleep(0.001)
            assert is_silent(client)

    def test_a_drip_sends_one_byte_at_a_time(self) -> None:
        answer = Answer(200, body=b"ab")
        exchange = Exchange(SOME_REQUEST, lambda: answer)

        assert list(Drip(0.5).steps(exchange)) == [
            Head(answer.head()),
            Body(b"a"),
            Pause(0.5),
            Body(b"b"),
            Pause(0.5),
        ]
        head = list(Drip(0.5, "head").steps(exchange))
        assert head[:3] == [Head(b"H"), Pause(0.5), Head(b"T")]
        assert head[-1] == Body(b"ab")

    def test_a_dripping_answer_arrives_whole_in_the_end(self, token_server: TokenServer) -> None:
        answer = Answer(200, body=b"12345")
        token_server.answer_next(Drip(0.02, then=answer), Drip(0.001, "head", answer))
        start = time.monotonic()
        in_body = on_wire(token_server)

        assert time.monotonic() - start >= 0.1
        assert in_body == on_wire(token_server) == answer.head() + answer.body

    def test_between_two_drops_nothing_comes(self, token_server: TokenServer) -> None:
        answer = Answer(200, body=b"12345")
        token_server.answer_next(Drip(LONG, then=answer))
        with connected(token_server) as client:
            client.sendall(grant_bytes(token_server))
            expected = answer.head() + b"1"
            assert read_exactly(client, len(expected)) == expected
            assert is_silent(client)

    def test_a_cut_keeps_half_of_the_part_and_ends_there(self) -> None:
        answer = Answer(200, body=b"12345")
        steps = Cut(then=answer).steps(Exchange(SOME_REQUEST, Answer))

        assert list(steps) == [Head(answer.head()), Body(b"12"), HangUp()]

    def test_a_cut_body_is_shorter_than_announced(self, token_server: TokenServer) -> None:
        token_server.answer_next(Cut())

        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            ask(token_server)
        assert token_server.grants == 1

    def test_what_has_no_such_part_is_not_cut(self) -> None:
        exchange = Exchange(SOME_REQUEST, Answer)

        assert list(Cut("head", then=Reset()).steps(exchange)) == [HangUp(reset=True)]

    def test_a_cut_head_ends_inside_the_header_fields(self, token_server: TokenServer) -> None:
        token_server.answer_next(Cut("head"), Cut("head", keep=20), Cut("head", keep=0))

        half, some, none = (on_wire(token_server) for _ in range(3))
        assert half.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n\r\n" not in half
        assert some == b"HTTP/1.1 200 OK\r\nCon"
        assert none == b""
        assert token_server.grants == 3

    def test_a_gzipped_answer_is_still_correct(self, token_server: TokenServer) -> None:
        token_server.answer_next(Gzip(), Gzip(Answer(200, body=b"plain")))
        first, second = ask(token_server), ask(token_server)

        assert first.headers["Content-Encoding"] == "gzip"
        assert first.headers["Content-Type"] == "application/json"
        assert use(token_server, first.json()["access_token"]) == 200
        assert second.content == b"plain"

    def test_a_gzipped_answer_is_gzip_on_the_wire(self, token_server: TokenServer) -> None:
        token_server.answer_next(Gzip(Answer(200, body=b"plain")))

        assert gzip.decompress(on_wire(token_server).partition(b"\r\n\r\n")[2]) == b"plain"

    def test_an_endless_body_ends_with_the_client(self, token_server: TokenServer) -> None:
        token_server.answer_next(Endless())
        with requests.post(token_server.token_url, stream=True, timeout=LONG) as response:
            chunks = response.iter_content(65_536)
            received = b"".join(next(chunks) for _ in range(64))

        assert received.isspace()
        assert len(received) == 4 * 1024 * 1024
        assert ask(token_server).status_code == 200

    def test_an_endless_gzip_body_is_a_bomb(self, token_server: TokenServer) -> None:
        token_server.answer_next(Endless(gzip=True))
        inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        wire = plain = 0
        with requests.post(token_server.token_url, stream=True, timeout=LONG) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            for chunk in response.raw.stream(4_096, decode_content=False):
                wire += len(chunk)
                plain += len(inflate.decompress(chunk))
                if plain > 8 * 1024 * 1024:
                    break

        assert not inflate.eof
        assert plain > 500 * wire

    def test_early_hints_come_first(self, token_server: TokenServer) -> None:
        token_server.answer_next(EarlyHints())
        hints, _, rest = on_wire(token_server).partition(b"\r\n\r\n")

        assert hints.startswith(b"HTTP/1.1 103 Early Hints\r\n")
        assert rest.startswith(b"HTTP/1.1 200 OK\r\n")

    def test_faults_wrap_one_another(self, token_server: TokenServer) -> None:
        slow = Drip(0.001, "head", Answer(500, body=b"12345678"))
        token_server.answer_next(EarlyHints(Delay(0.01, Hang(Cut(then=slow)))))
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(on_wire, token_server)
            token_server.wait_for_held()
            token_server.release()
            heads, _, body = answer.result(LONG).rpartition(b"\r\n\r\n")

        assert heads.startswith(b"HTTP/1.1 103 ")
        assert b"HTTP/1.1 500 " in heads
        assert body == b"1234"


class TestRecord:
    def test_a_request_is_recorded_whole(self) -> None:
        with TokenServer(clock=lambda: 7.0) as server:
            requests.post(
                server.token_url + "?q=1",
                data="a=1&a=2&blank=&b=%C3%A9",
                headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
                timeout=LONG,
            )
            (request,) = server.requests

        assert request.method == "POST"
        assert request.path == "/oauth/token/"
        assert request.query == "q=1"
        assert request.headers["content-type"].startswith("application/x-www-form-urlencoded")
        assert request.form == {"a": ["1", "2"], "blank": [""], "b": ["é"]}
        assert request.body == b"a=1&a=2&blank=&b=%C3%A9"
        assert request.at == 7.0

    def test_headers_read_in_any_case_and_keep_what_is_repeated(
        self, token_server: TokenServer
    ) -> None:
        with connected(token_server) as client:
            client.sendall(
                b"GET /api/ HTTP/1.1\r\nConnection: close\r\nX-Two: a\r\nx-two: b\r\n\r\n"
            )
            assert client.recv(1)
        headers = token_server.requests[0].headers

        assert headers["X-TWO"] == "a, b"
        assert headers.get_all("x-two") == ["a", "b"]
        assert headers.get_all("x-three") == []
        assert "X-Three" not in headers
        assert [name.lower() for name in headers] == ["connection", "x-two"]
        assert len(headers) == 2

    def test_what_is_no_form_has_no_fields(self, token_server: TokenServer) -> None:
        requests.post(token_server.token_url, json={"a": 1}, timeout=LONG)

        assert token_server.requests[0].form == {}

    def test_each_endpoint_has_its_own_record(self, token_server: TokenServer) -> None:
        token = granted(token_server)["access_token"]
        ask(token_server, password="wrong")
        use(token_server, token)
        revoke(token_server, token=token)
        requests.get(token_server.base_url, timeout=LONG)

        assert token_server.token_requests == 2
        assert token_server.grants == 1
        assert len(token_server.token_endpoint.requests) == 2
        assert [each.method for each in token_server.api.requests] == ["GET"]
        assert token_server.revocation_endpoint.requests[0].form["token"] == [token]
        assert len(token_server.elsewhere.requests) == 1
        assert [each.path for each in token_server.requests] == [
            "/oauth/token/",
            "/oauth/token/",
            "/api/v4/leads/",
            "/oauth/revoke_token/",
            "/",
        ]

    def test_waiting_ends_with_the_request(self, token_server: TokenServer) -> None:
        with ThreadPoolExecutor() as pool:
            everything = pool.submit(token_server.wait_for_requests, 3, timeout=LONG)
            of_api = pool.submit(token_server.api.wait_for_requests, 2, timeout=LONG)
            token = granted(token_server)["access_token"]
            for _ in range(2):
                use(token_server, token)

            assert len(everything.result()) >= 3
            assert of_api.result() == token_server.api.requests

    def test_waiting_for_what_does_not_come_ends(self, token_server: TokenServer) -> None:
        use(token_server, "made-up")

        with pytest.raises(TimeoutError, match=r"1 of 2 requests came within 0\.01 s"):
            token_server.wait_for_requests(2, timeout=0.01)
        with pytest.raises(TimeoutError, match=r"0 of 1 requests came within 0\.01 s"):
            token_server.token_endpoint.wait_for_requests(1, timeout=0.01)

    def test_an_absolute_url_is_read_as_a_proxy_would(self, token_server: TokenServer) -> None:
        token_server.elsewhere.answer_next(Answer(407))
        proxies = {"http": token_server.base_url}
        response = requests.get("http://no.example/x?y", proxies=proxies, timeout=LONG)

        assert response.status_code == 407
        assert (token_server.requests[0].path, token_server.requests[0].query) == ("/x", "y")

    def test_no_repr_shows_a_secret(self, token_server: TokenServer) -> None:
        tokens = granted(token_server)
        requests.get(
            f"{token_server.api_url}?token={tokens['access_token']}",
            headers=bearer(tokens["access_token"]),
            timeout=LONG,
        )
        answer = Answer.json(tokens, headers={"X-Token": tokens["access_token"]})
        shown = repr(
            [
                token_server,
                token_server.token_endpoint,
                token_server.requests,
                [each.headers for each in token_server.requests],
                answer,
                Raw(tokens["access_token"].encode()),
                Cut(then=answer),
                Exchange(token_server.requests[0], lambda: answer),
                Head(answer.head()),
                Body(answer.body),
            ]
        )

        assert token_server.secrets == {
            token_server.client_secret,
            token_server.password,
            tokens["access_token"],
            tokens["refresh_token"],
        }
        assert [secret for secret in token_server.secrets if secret in shown] == []
        assert "/oauth/token/" in shown

    def test_nothing_is_printed(
        self, token_server: TokenServer, capfd: pytest.CaptureFixture[str]
    ) -> None:
        ask(token_server)
        with connected(token_server) as client:
            client.sendall(b"POST /oauth/token/ HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort")
        token_server.answer_next(Cut("head", keep=0))
        with pytest.raises(requests.ConnectionError):
            ask(token_server)
        token_server.close()

        assert capfd.readouterr() == ("", "")

    def test_a_mistake_in_ones_own_behaviour_is_shown(
        self, token_server: TokenServer, capfd: pytest.CaptureFixture[str]
    ) -> None:
        class Mistaken:
            def steps(self, exchange: Exchange) -> Iterator[Step]:
                raise LookupError(f"no answer to {exchange.request.path}")

        token_server.answer_next(Mistaken())
        assert on_wire(token_server) == b""
        token_server.close()
        assert "LookupError: no answer to /oauth/token/" in capfd.readouterr().err

    @pytest.mark.parametrize(
        "lines",
        [
            b"nonsense\r\n\r\n",
            b"POST /oauth/token/ HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            b"POST /oauth/token/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET http://[ HTTP/1.1\r\n\r\n",
        ],
    )
    def test_what_is_no_request_is_neither_recorded_nor_printed(
        self, token_server: TokenServer, lines: bytes, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with connected(token_server) as client:
            client.sendall(lines)
            assert b" 400 " in read_to_end(client)
        token_server.close()

        assert token_server.requests == ()
        assert capfd.readouterr() == ("", "")

    def test_half_a_body_is_no_request(self, token_server: TokenServer) -> None:
        with connected(token_server) as client:
            client.sendall(b"POST /oauth/token/ HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort")
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(client) == b""
        assert token_server.requests == ()


class TestLifeOfTheServer:
    def test_no_two_servers_share_an_identity(self, token_server: TokenServer) -> None:
        other = TokenServer()

        for name in ("client_id", "client_secret", "username", "password"):
            assert getattr(other, name) != getattr(token_server, name)

    def test_before_it_started_it_has_no_url(self) -> None:
        with pytest.raises(RuntimeError, match="before start"):
            _ = TokenServer().token_url

    def test_after_it_closed_connections_are_refused(self) -> None:
        with TokenServer() as server:
            assert ask(server).status_code == 200
        with pytest.raises(ConnectionRefusedError), connected(server):
            pass
        with pytest.raises(RuntimeError, match="closed"):
            server.release()
        server.close()

    def test_it_comes_back_at_the_same_port_with_its_tokens(self) -> None:
        server = TokenServer()
        with server:
            url, token = server.token_url, granted(server)["access_token"]
        with server:
            assert server.start() is server
            assert server.token_url == url
            assert use(server, token) == 200

    @pytest.mark.parametrize(
        "behaviour",
        [
            Hang(),
            Delay(LONG),
            Drip(LONG),
            Drip(LONG, "head"),
            Endless(),  # unread: the server's write blocks
        ],
        ids=repr,
    )
    def test_closing_never_waits(self, behaviour: Behaviour) -> None:
        before = set(threading.enumerate())
        with TokenServer() as server:
            server.answer_next(behaviour, times=4)
            clients = [socket.create_connection(address_of(server)) for _ in range(4)]
            for client in clients:
                client.sendall(grant_bytes(server))
            server.wait_for_requests(4)
            start = time.monotonic()
        assert time.monotonic() - start < PROMPT
        for client in clients:
            client.close()
        assert set(threading.enumerate()) <= before

    def test_closing_ends_idle_connections(self) -> None:
        before = set(threading.enumerate())
        with TokenServer() as server, connected(server) as silent, requests.Session() as session:
            session.get(server.api_url, timeout=LONG)  # accepted after the silent one
            start = time.monotonic()
            server.close()
            assert time.monotonic() - start < PROMPT
            assert silent.recv(1) == b""
        assert set(threading.enumerate()) <= before

    def test_starting_asks_for_no_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getfqdn", pytest.fail)

        with TokenServer() as server:
            assert server.base_url.startswith("http://127.0.0.1:")

    def test_a_connection_that_came_last_is_not_begun(self) -> None:
        with TokenServer() as server:
            wire = server._listening
        with closing(socket.socket()) as late, pytest.raises(ClosedError):
            wire.opened(late)

    def test_a_burst_of_clients_is_served(self, token_server: TokenServer) -> None:
        count = 100
        barrier = threading.Barrier(count)

        def at_once(_: int) -> int:
            barrier.wait(LONG)
            return len(on_wire(token_server))

        start = time.monotonic()
        with ThreadPoolExecutor(count) as pool:
            assert all(pool.map(at_once, range(count)))
        assert time.monotonic() - start < PROMPT
        assert token_server.grants == token_server.token_requests == count

    def test_it_speaks_tls(self) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        with TokenServer(ssl_context=context) as server, authority.cert_pem.tempfile() as ca:
            assert server.token_url.startswith("https://127.0.0.1:")
            response = requests.post(
                server.token_url, data=form_of(server), verify=ca, timeout=LONG
            )
            assert response.status_code == 200
            with pytest.raises(requests.exceptions.SSLError):
                ask(server)
            assert server.token_requests == 1
            with connected(server) as silent:  # a handshake that never begins holds nobody up
                response = requests.get(server.api_url, verify=ca, timeout=LONG)
                assert response.status_code == 401
                server.close()
                assert silent.recv(1) == b""


class TestPackage:
    def test_each_name_is_there(self) -> None:
        for name in testing.__all__:
            assert getattr(testing, name).__name__ == name
        assert dir(testing) == testing.__all__

    def test_another_name_is_not(self) -> None:
        name = "Nonsense"
        with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
            getattr(testing, name)


def address_of(server: TokenServer) -> tuple[str, int]:
    url = urlsplit(server.base_url)
    return url.hostname or "", url.port or 0
