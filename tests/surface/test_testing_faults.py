"""The scripted answers and faults of `evertoken.testing.TokenServer`."""

from __future__ import annotations

import gzip
import http.client
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

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
from evertoken.testing.gate import Gate
from evertoken.testing.headers import Headers
from support.token_client import (
    LONG,
    ask,
    connected,
    grant_bytes,
    granted,
    is_silent,
    on_wire,
    read_exactly,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.testing.answers import Step

SOME_REQUEST = Recorded("GET", "/", query="", headers=Headers(), form={}, body=b"", at=0.0)


class TestScript:
    def test_the_next_requests_get_the_script_in_order(self, token_server: TokenServer) -> None:
        token_server.answer_next(Answer(500), Usual(), times=2)
        token_server.answer_next(Answer(502))

        statuses = [ask(token_server).status_code for _ in range(6)]
        assert statuses == [500, 200, 500, 200, 502, 200]

    def test_answer_next_comes_before_answer_always(self, token_server: TokenServer) -> None:
        token_server.token_endpoint.answer_always(Answer(500))
        token_server.answer_next(Answer(502))

        assert [ask(token_server).status_code for _ in range(3)] == [502, 500, 500]

    def test_an_endpoint_does_not_affect_another(self, token_server: TokenServer) -> None:
        token = granted(token_server)["access_token"]
        token_server.outage()

        assert use(token_server, token) == 200

    def test_recover_drops_the_whole_script(self, token_server: TokenServer) -> None:
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

    def test_latency_delays_every_answer(self, token_server: TokenServer) -> None:
        token_server.latency = 0.1
        assert token_server.token_endpoint.latency == token_server.latency == 0.1
        token_server.answer_next(Answer(500))
        for status in (500, 200):
            start = time.monotonic()
            assert ask(token_server).status_code == status
            assert time.monotonic() - start >= 0.1

    def test_a_custom_behaviour_gets_the_request(self, token_server: TokenServer) -> None:
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
    def test_it_is_sent_as_given_with_its_length(self, token_server: TokenServer) -> None:
        token_server.answer_next(Answer(418, {"X-One": "é"}, b"\x00\xff"))

        assert on_wire(token_server) == (
            b"HTTP/1.1 418 I'm a Teapot\r\nX-One: \xe9\r\nContent-Length: 2\r\n\r\n\x00\xff"
        )

    def test_an_unknown_status_has_no_phrase(self, token_server: TokenServer) -> None:
        token_server.answer_next(Answer(299))

        assert on_wire(token_server).startswith(b"HTTP/1.1 299 \r\n")

    def test_a_header_field_may_be_repeated(self, token_server: TokenServer) -> None:
        fields = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")]
        token_server.answer_next(Answer(401, fields))

        response = ask(token_server)
        assert response.raw.headers.getlist("WWW-Authenticate") == ["Basic", "Bearer"]

    def test_a_given_length_is_kept_and_ends_the_connection(
        self, token_server: TokenServer
    ) -> None:
        token_server.answer_next(Answer(200, {"content-length": "9"}, b"short"))

        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            ask(token_server)

    @pytest.mark.parametrize("status", [103, 204])
    def test_no_length_is_sent_where_none_is_allowed(
        self, token_server: TokenServer, status: int
    ) -> None:
        token_server.answer_next(Answer(status))

        assert b"content-length" not in on_wire(token_server).lower()

    def test_a_header_beyond_latin_1_is_rejected_at_once(self) -> None:
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

    def test_a_release_affects_only_requests_that_already_hang(
        self, token_server: TokenServer
    ) -> None:
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

    def test_a_request_that_was_released_before_it_was_held_is_not_held(self) -> None:
        gate = Gate()
        before = gate.releases
        gate.release()
        # between its script and its hold: it would wait for the end of the test
        gate.hold(before)

    def test_waiting_for_a_hang_times_out(self, token_server: TokenServer) -> None:
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

    def test_nothing_arrives_between_two_bytes_of_a_drip(self, token_server: TokenServer) -> None:
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

    def test_an_answer_without_the_part_is_not_cut(self) -> None:
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
