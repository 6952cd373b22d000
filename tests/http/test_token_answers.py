"""Answers of the token endpoint over real HTTP: the status and the whole body count."""

from __future__ import annotations

import base64
import email.utils
import json
import time
from typing import TYPE_CHECKING

import pytest

from evertoken import (
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    RevocationFailed,
    TokenError,
)
from evertoken.testing import Answer, TokenServer
from support.http_clients import grant_of, manager_of
from support.logs import warned
from support.scanner import Scanner

if TYPE_CHECKING:
    from typing import Literal

    from evertoken.testing.answers import Json

VALUE = "planted-in-the-body"
TOKEN: dict[str, Json] = {"access_token": VALUE, "token_type": "Bearer", "expires_in": 36000}
JSON = "application/json"


def error_of(server: TokenServer, answer: Answer) -> TokenError:
    server.token_endpoint.answer_always(answer)
    with pytest.raises(TokenError) as caught:
        grant_of(server).request()
    assert Scanner(token=VALUE).found_on(caught.value) == []
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "transient"),
    [
        (304, InvalidTokenResponse, False),
        (400, GrantUnavailable, True),
        (401, GrantUnavailable, True),
        (403, GrantUnavailable, True),
        (404, GrantUnavailable, True),
        (407, GrantUnavailable, False),
        (408, GrantUnavailable, True),
        (425, GrantUnavailable, True),
        (429, GrantUnavailable, True),
        (500, GrantUnavailable, True),
        (502, GrantUnavailable, True),
        (503, GrantUnavailable, True),
        (599, GrantUnavailable, True),
        (600, InvalidTokenResponse, False),
    ],
)
def test_a_token_with_a_status_other_than_2xx_is_rejected(
    token_server: TokenServer, status: int, kind: type[TokenError], *, transient: bool
) -> None:  # S23
    error = error_of(token_server, Answer.json(TOKEN, status=status))

    assert type(error) is kind
    assert (error.status, error.transient) == (status, transient)
    assert str(status) in str(error)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226])
def test_a_token_under_any_2xx_is_a_grant(token_server: TokenServer, status: int) -> None:  # S23
    token_server.token_endpoint.answer_always(Answer.json(TOKEN, status=status))

    assert grant_of(token_server).request().value == VALUE


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b"\xef\xbb\xbf" + json.dumps(TOKEN).encode()),
        (JSON, json.dumps(TOKEN).encode("utf-16")),
        (f"{JSON}; charset=utf-16-le", json.dumps(TOKEN).encode("utf-16-le")),
        ("text/html", json.dumps(TOKEN).encode()),
    ],
    ids=["BOM", "UTF-16 with a BOM", "declared charset", "labelled as HTML"],
)
def test_a_token_is_read_however_its_text_is_encoded(
    token_server: TokenServer, content_type: str, body: bytes
) -> None:  # S27
    token_server.token_endpoint.answer_always(Answer(200, {"Content-Type": content_type}, body))

    assert grant_of(token_server).request().value == VALUE


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", b"<html><body>planted-in-the-body</body></html>"),
        ("text/html; charset=utf-8", b""),
        (JSON, b""),
        (JSON, b'["planted-in-the-body"]'),
        (JSON, b'"planted-in-the-body"'),
        (JSON, b"7"),
        (JSON, b"null"),
        (JSON, b"true"),
        (JSON, b'{"access_token": "planted-in-the-body", "token_'),
        (JSON, json.dumps(TOKEN).encode() + b"}"),
        (JSON, b'{"a":' * 200_000),
        (JSON, b"[" * 1_000_000),
        (JSON, json.dumps(TOKEN).encode("utf-16-le")),
        (JSON, b'{"access_token": "planted-in-the-body\xff"}'),
        (JSON, b"\x00" * 1000),
        ("application/x-www-form-urlencoded", b"access_token=planted-in-the-body"),
    ],
)
def test_an_answer_without_a_token_raises_one_error_with_status_and_type(
    token_server: TokenServer, content_type: str, body: bytes
) -> None:  # S27
    error = error_of(token_server, Answer(200, {"Content-Type": content_type}, body))

    media_type = content_type.partition(";")[0]
    assert type(error) is InvalidTokenResponse
    assert (error.status, error.content_type) == (200, media_type)
    assert f"(status 200, {media_type})" in str(error)


def test_an_answer_without_a_type_says_so(token_server: TokenServer) -> None:  # S27
    error = error_of(token_server, Answer(200, (), b"hello"))

    assert error.content_type is None
    assert "(status 200, no content type)" in str(error)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "\xff"])
def test_an_unrequested_content_coding_is_not_decoded(
    token_server: TokenServer, coding: str
) -> None:  # F18, S27
    error = error_of(token_server, Answer(200, {"Content-Encoding": coding}, b"x"))

    assert type(error) is InvalidTokenResponse
    assert "content coding that was not asked for" in str(error)
    (request,) = token_server.requests
    assert request.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "GZIP"])
def test_a_broken_content_coding_is_reported(token_server: TokenServer, coding: str) -> None:  # S27
    error = error_of(token_server, Answer(200, {"Content-Encoding": coding}, b"no such thing"))

    assert type(error) is InvalidTokenResponse
    assert f"is not valid {coding.lower()}" in str(error)


def test_a_compressed_answer_is_read(token_server: TokenServer) -> None:
    token_server.token_endpoint.answer_always(Answer.json(TOKEN).gzipped())

    assert grant_of(token_server).request().value == VALUE


def test_members_missing_from_an_answer_are_logged_once(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:  # S16, S19
    token_server.omit = ["token_type", "expires_in"]
    grant = grant_of(token_server, default_lifetime=77)

    tokens = [grant.request() for _ in range(3)]

    assert {round(token.lifetime) for token in tokens} == {77}
    whose = f"{token_server.username} at {token_server.token_url}"
    assert [record.getMessage() for record in warned(caplog)] == [
        f"{whose}: the answer names no token_type: it is taken for Bearer",
        f"{whose}: the answer names no expires_in: 77 s are assumed",
    ]


def test_an_unusual_token_type_is_logged_once(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:  # S16
    grant = grant_of(token_server)
    for kind in ("BearerToken", " Bearer ", "bearertoken"):
        token_server.extra = {"token_type": kind}
        grant.request()

    (warning,) = warned(caplog)
    assert "spells token_type otherwise: it is taken for Bearer" in warning.getMessage()


@pytest.mark.parametrize("ahead", [0.0, 7200.0, -7200.0], ids="clock {:+.0f} s".format)
def test_an_expires_in_that_is_a_timestamp_is_read_on_the_servers_clock(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture, ahead: float
) -> None:  # S18, F16
    there = time.time() + ahead
    document: Json = {**TOKEN, "expires_in": int(there) + 3600}
    date = email.utils.formatdate(there, usegmt=True)
    token_server.token_endpoint.answer_always(Answer.json(document, headers={"Date": date}))
    grant = grant_of(token_server)

    tokens = [grant.request() for _ in range(2)]

    assert [token.lifetime for token in tokens] == pytest.approx([3600, 3600], abs=60)
    (warning,) = warned(caplog)
    assert "expires_in is a point in time" in warning.getMessage()


def test_without_a_date_header_the_timestamp_is_read_on_the_local_clock(
    token_server: TokenServer,
) -> None:  # S18
    token_server.extra = {"expires_in": int(time.time()) + 3600}

    assert grant_of(token_server).request().lifetime == pytest.approx(3600, abs=60)


GARBAGE = {
    "a captive portal": Answer(200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"),
    "a maintenance page": Answer(200, {"Content-Type": "text/plain"}, b"back soon"),
    "an oversized body": Answer(200, {"Content-Type": "text/html"}, bytes((1 << 20) + 1)),
    "an empty body": Answer(204),
    "a bad coding": Answer(200, {"Content-Encoding": "br"}, b"x"),
    "another type": Answer.json({**TOKEN, "token_type": "mac"}),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_under_a_2xx_backs_off_from_one_second(
    token_server: TokenServer, garbage: Answer
) -> None:  # S52
    token_server.token_endpoint.answer_always(garbage)
    manager = manager_of(token_server)

    before = time.time()
    with pytest.raises(InvalidTokenResponse):
        manager.token()

    retry_at = manager.status().retry_at
    assert retry_at is not None
    assert retry_at <= time.time() + 1
    assert retry_at >= before + 0.5


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "unauthorized_client"])
@pytest.mark.parametrize("status", [200, 400, 401])
def test_an_oauth_error_is_readable(
    token_server: TokenServer, code: str, status: int
) -> None:  # S24
    error = error_of(token_server, Answer.error(code, status=status, description="as it was."))

    assert type(error) is GrantRefused
    assert (error.error, error.status, error.description) == (code, status, "as it was.")
    assert code in str(error)


@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_secrets_echoed_by_the_server_are_masked(
    token_server: TokenServer, client_auth: Literal["body", "basic"]
) -> None:  # S25
    secret, password = token_server.client_secret, token_server.password
    pair = base64.b64encode(f"{token_server.client_id}:{secret}".encode()).decode()
    echo = f"no such user with {password}, {secret}, Basic {pair if client_auth == 'basic' else ''}"
    token_server.refuse("invalid_grant", description=echo)

    with pytest.raises(GrantRefused) as caught:
        grant_of(token_server, client_auth=client_auth).request()

    assert Scanner(password=password, client_secret=secret).found_on(caught.value) == []
    assert "no such user with ***, ***" in str(caught.value)


REDIRECTS = [300, 301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_a_redirect_of_a_grant_is_not_followed(
    token_server: TokenServer, status: int, client_auth: Literal["body", "basic"]
) -> None:  # S9
    with TokenServer() as thief:
        token_server.token_endpoint.answer_always(Answer.redirect(thief.token_url, status=status))
        with pytest.raises(InvalidTokenResponse, match="redirect") as caught:
            grant_of(token_server, client_auth=client_auth).request()

        assert thief.requests == ()
    assert token_server.token_requests == 1
    assert (caught.value.status, caught.value.transient) == (status, False)


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_of_a_revocation_is_not_followed(
    token_server: TokenServer, status: int
) -> None:  # S9
    grant = grant_of(token_server)
    token = grant.request()
    with TokenServer() as thief:
        redirect = Answer.redirect(thief.revoke_url, status=status)
        token_server.revocation_endpoint.answer_always(redirect)
        with pytest.raises(RevocationFailed, match="redirect") as caught:
            grant.revoke(token)

        assert thief.requests == ()
    assert caught.value.status == status


@pytest.mark.parametrize(
    "location", ["", "?", "//", "http://[", "\xff\xfe", "http://a b/", "/" * 5000, "javascript:0"]
)
def test_no_redirect_is_followed_whatever_its_target(
    token_server: TokenServer, location: str
) -> None:  # S9
    error = error_of(token_server, Answer.redirect(location))

    assert type(error) is InvalidTokenResponse
    assert error.status == 302
    assert len(token_server.requests) == 1


@pytest.mark.parametrize("query", ["", "?tenant=7"])
def test_a_missing_trailing_slash_is_suggested(token_server: TokenServer, query: str) -> None:  # S9
    url = token_server.token_url.rstrip("/") + query

    with pytest.raises(InvalidTokenResponse, match="seems to lack its last slash") as caught:
        grant_of(token_server, token_url=url).request()

    assert caught.value.status == 301
    assert len(token_server.requests) == 1


def http_date(seconds_from_now: float, form: str) -> str:
    moment = time.gmtime(time.time() + seconds_from_now)
    if form == "IMF-fixdate":
        return email.utils.formatdate(time.time() + seconds_from_now, usegmt=True)
    if form == "RFC 850":
        return time.strftime("%A, %d-%b-%y %H:%M:%S GMT", moment)
    return time.strftime("%a %b %e %H:%M:%S %Y", moment)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("value", "seconds"), [("120", 120), (" 7 ", 7), ("0", 0), ("007", 7)])
def test_retry_after_in_seconds(
    token_server: TokenServer, status: int, value: str, seconds: float
) -> None:  # S36
    error = error_of(token_server, Answer(status, {"Retry-After": value}))

    assert error.retry_after == seconds


def test_retry_after_as_a_date_is_counted_on_the_servers_clock(  # S36
    token_server: TokenServer,
) -> None:
    hour, form = 3600, "IMF-fixdate"
    headers = {"Date": http_date(hour, form), "Retry-After": http_date(hour + 600, form)}

    assert error_of(token_server, Answer(503, headers)).retry_after == pytest.approx(600, abs=30)


@pytest.mark.parametrize("form", ["IMF-fixdate", "RFC 850", "asctime"])
def test_retry_after_as_a_date(
    token_server: TokenServer, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # S36
    # the third form has no time zone: it must not be read as local time
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        error = error_of(token_server, Answer(503, {"Retry-After": http_date(600, form)}))
    finally:
        monkeypatch.undo()
        time.tzset()

    assert error.retry_after == pytest.approx(600, abs=30)


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "",
        "-5",
        "1.5",
        "1e3",
        "NaN",
        "٣",
        "\xb2",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 99 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 +999999999999",
        "1 Jan 1 00:00:00 -2359",
        ",",
        ":",
        "9" * 9000,
    ],
)
def test_an_unusable_retry_after_is_ignored(token_server: TokenServer, value: str) -> None:  # S36
    fits = value.encode("latin-1", "ignore").decode("latin-1")

    error = error_of(token_server, Answer(503, {"Retry-After": fits}))

    assert type(error) is GrantUnavailable
    assert error.retry_after is None or fits.isdigit()


@pytest.mark.parametrize("value", ["1000000000", "9" * 4000, "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_retry_after_is_an_hour_at_most(token_server: TokenServer, value: str) -> None:  # S36
    token_server.token_endpoint.answer_always(Answer(503, {"Retry-After": value}))
    manager = manager_of(token_server)

    before = time.time()
    with pytest.raises(GrantUnavailable):
        manager.token()

    retry_at = manager.status().retry_at
    assert retry_at is not None
    assert before + 3600 <= retry_at <= time.time() + 3600
    with pytest.raises(GrantUnavailable):
        manager.token()
    assert token_server.token_requests == 1
