"""`evertoken.testing.TokenServer`: its record, its start and end, and its package."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

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
    Endless,
    Exchange,
    Hang,
    Raw,
    TokenServer,
)
from evertoken.testing.answers import Body, Head
from evertoken.testing.gate import ClosedError
from support.token_client import (
    LONG,
    PROMPT,
    address_of,
    ask,
    bearer,
    connected,
    form_of,
    grant_bytes,
    granted,
    on_wire,
    read_to_end,
    revoke,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.testing.answers import Step


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

    def test_headers_are_case_insensitive_and_keep_repeated_fields(
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

    def test_a_body_that_is_not_a_form_has_no_fields(self, token_server: TokenServer) -> None:
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

    def test_waiting_for_a_request_times_out(self, token_server: TokenServer) -> None:
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

    def test_no_repr_shows_a_secret(
        self, token_server: TokenServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        # urllib3 would log the query
        caplog.set_level("INFO", "urllib3")
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

    def test_an_exception_in_a_custom_behaviour_is_shown(
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
    def test_an_invalid_request_is_neither_recorded_nor_printed(
        self, token_server: TokenServer, lines: bytes, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with connected(token_server) as client:
            client.sendall(lines)
            assert b" 400 " in read_to_end(client)
        token_server.close()

        assert token_server.requests == ()
        assert capfd.readouterr() == ("", "")

    def test_a_request_with_half_a_body_is_not_recorded(self, token_server: TokenServer) -> None:
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

    def test_it_restarts_on_the_same_port_with_its_tokens(self) -> None:
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
            Endless(),  # not read, so that the server's write blocks
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
            session.get(server.api_url, timeout=LONG)  # accepted after the silent connection
            start = time.monotonic()
            server.close()
            assert time.monotonic() - start < PROMPT
            assert silent.recv(1) == b""
        assert set(threading.enumerate()) <= before

    def test_starting_looks_up_no_host_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getfqdn", pytest.fail)

        with TokenServer() as server:
            assert server.base_url.startswith("http://127.0.0.1:")

    def test_a_connection_during_the_close_is_not_served(self) -> None:
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
            with connected(
                server
            ) as silent:  # a handshake that never begins blocks no other connection
                response = requests.get(server.api_url, verify=ca, timeout=LONG)
                assert response.status_code == 401
                server.close()
                assert silent.recv(1) == b""


class TestAnswer:
    def test_with_a_document_in_place_of_header_fields_has_it_as_its_body(
        self, token_server: TokenServer
    ) -> None:
        token_server.api.answer_next(Answer(200, {"count": 3}))
        response = requests.get(token_server.api_url, timeout=LONG)

        assert response.json() == {"count": 3}
        assert response.headers["Content-Type"] == "application/json"
        assert Answer(200, {"count": 3}) == Answer.json({"count": 3})

    def test_with_text_values_has_header_fields(self, token_server: TokenServer) -> None:
        token_server.api.answer_next(Answer(503, {"Retry-After": "30"}))
        response = requests.get(token_server.api_url, timeout=LONG)

        assert (response.headers["Retry-After"], response.content) == ("30", b"")

    def test_has_one_body(self) -> None:
        with pytest.raises(ValueError, match="either a body or a document"):
            Answer(200, {"count": 3}, b"4")


class TestPackage:
    def test_each_name_exists(self) -> None:
        for name in testing.__all__:
            assert getattr(testing, name).__name__ == name
        assert dir(testing) == testing.__all__

    def test_another_name_does_not(self) -> None:
        name = "Nonsense"
        with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
            getattr(testing, name)
