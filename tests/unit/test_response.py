"""Strict parsing of a token endpoint's answer."""

from __future__ import annotations

import codecs
import json
import math
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evertoken import GrantRefused, GrantUnavailable, InvalidTokenResponse, TokenError
from evertoken.core.token import LONGEST_LIFETIME
from evertoken.grants.answer import Answer
from evertoken.grants.error_answer import failure
from evertoken.grants.masking import MAX_DESCRIPTION, WITHHELD
from evertoken.grants.response import (
    NO_REFRESH_TOKEN,
    NO_TIME,
    NO_TYPE,
    ODD_TYPE,
    POINT_IN_TIME,
    Granted,
    parse,
)
from support.core_values import DAY, HOUR, PLANTED
from support.strategies import TRIES

if TYPE_CHECKING:
    from collections.abc import Mapping

URL = "https://app.squadrun.co/oauth/token/"
JSON = {"content-type": "application/json"}

DOCUMENTED: Mapping[str, object] = {
    "access_token": "OBs8bc5PdrzQNd3FaMRp5CkHFhinD9",
    "token_type": "Bearer",
    "expires_in": 36000,
    "refresh_token": "tEonECLhjMlLf4ZWs56LT43HOrivEt",
    "scope": "read write",
}


def answer(
    body: bytes | str | Mapping[str, object],
    status: int = 200,
    *,
    headers: Mapping[str, str] = JSON,
    url: str = URL,
    retry_after: float | None = None,
    moment: float | None = None,
    sent: tuple[str, ...] = (),
) -> Answer:
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return Answer(
        url=url,
        status=status,
        headers=headers,
        body=body,
        retry_after=retry_after,
        moment=moment,
        sent=sent,
    )


def with_(**members: object) -> Answer:
    """The documented answer with changed members; `...` omits one."""
    merged = {**DOCUMENTED, **members}
    return answer({name: value for name, value in merged.items() if value is not ...})


def refused(reply: Answer, *secrets: str) -> InvalidTokenResponse:
    """The error of a 200 without a usable token, after checks that apply to each."""
    with pytest.raises(InvalidTokenResponse) as caught:
        parse(reply, secrets=secrets)
    error = caught.value
    assert (error.status, error.content_type) == (reply.status, reply.content_type)
    assert str(reply.status) in str(error)
    assert str(reply.content_type or "no content type") in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


# -- what is granted -------------------------------------------------------------------------------


def test_the_documented_answer() -> None:
    assert parse(answer(DOCUMENTED)) == Granted(
        value="OBs8bc5PdrzQNd3FaMRp5CkHFhinD9",
        lifetime=36000,
        scope="read write",
        refresh_token="tEonECLhjMlLf4ZWs56LT43HOrivEt",
    )


def test_the_access_token_alone_is_enough() -> None:  # S16, S19
    granted = parse(answer({"access_token": "abc"}))
    assert granted == Granted(
        value="abc", lifetime=None, scope=None, refresh_token=None, notes=(NO_TYPE,)
    )


def test_no_repr_shows_a_token() -> None:  # S46
    reply = with_(access_token=PLANTED, refresh_token=PLANTED)
    assert PLANTED not in repr(reply)
    assert PLANTED not in repr(parse(reply))


@pytest.mark.parametrize(
    "value", [..., None, "", 7, 1.5, True, [], ["abc"], {}, {"value": "abc"}], ids=repr
)
def test_an_access_token_that_is_not_text_is_rejected(value: object) -> None:  # S14
    assert "access_token" in str(refused(with_(access_token=value)))


@pytest.mark.parametrize(
    "character", ["\r", "\n", "\0", " ", "\t", "\x7f", "é", "\u2028", "\ud800"]
)
@pytest.mark.parametrize("place", ["{0}{1}{1}", "{1}{0}{1}", "{1}{1}{0}"])
def test_an_access_token_not_allowed_in_a_header_is_rejected_without_being_shown(  # S15
    character: str, place: str
) -> None:
    error = refused(with_(access_token=place.format(character, PLANTED)))
    assert PLANTED not in repr(error)
    assert PLANTED not in repr(vars(error))


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
@TRIES
def test_every_printable_character_but_the_space_may_be_in_a_token(value: str) -> None:  # S15
    assert parse(with_(access_token=value)).value == value


@pytest.mark.parametrize(
    ("kind", "quoted"),
    [
        ("mac", '"mac"'),
        ("DPoP", '"DPoP"'),
        ("", '""'),
        ("N_A", '"N_A"'),
        (7, '"7"'),
        (["Bearer"], '"["Bearer"]"'),
        ({"a": True}, '"{"a": true}"'),
        ("be\x1b[2Jarer\n", r'"be\x1b[2Jarer\n"'),
        ("Bearer" * 20, f'"{"Bearer" * 6}Bear"'),
    ],
)
def test_another_token_type_is_rejected_and_quoted(kind: object, quoted: str) -> None:  # S16
    error = refused(with_(token_type=kind))
    assert f"token_type is {quoted}, not Bearer" in str(error)


@pytest.mark.parametrize("kind", [PLANTED, f"{PLANTED}-{PLANTED}", [PLANTED]])
def test_a_token_type_that_repeats_a_secret_is_not_quoted(kind: object) -> None:  # S16, S55
    for reply, secrets in (
        (with_(token_type=kind), [PLANTED]),
        (with_(token_type=kind, access_token=PLANTED), []),
    ):
        assert PLANTED not in str(refused(reply, *secrets))


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_case_of_the_token_type_does_not_matter(kind: str) -> None:  # S17
    assert parse(with_(token_type=kind)).notes == ()


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        (None, NO_TYPE),
        (..., NO_TYPE),
        (" Bearer", ODD_TYPE),
        ("bearer \r\n", ODD_TYPE),
        ("BearerToken", ODD_TYPE),
        ("bearertoken", ODD_TYPE),
        (" BearerToken ", ODD_TYPE),
    ],
)
def test_a_token_type_that_means_bearer_is_accepted_and_logged(  # S16
    kind: object, note: str
) -> None:
    granted = parse(with_(token_type=kind))
    assert (granted.value, granted.notes) == (DOCUMENTED["access_token"], (note,))


@pytest.mark.parametrize(
    ("raw", "lifetime"),
    [
        ("3600", 3600),
        ('"3600"', 3600),
        ("3599.5", 3599.5),
        ('"3599.5"', 3599.5),
        ("0", 0),
        ('"0"', 0),
        ("-0.0", 0),
        ("1e3", 1000),
        ("31536000", LONGEST_LIFETIME),
        ("31536001", LONGEST_LIFETIME),
        ('"99999999999999999999"', LONGEST_LIFETIME),
        ("1" + "0" * 400, LONGEST_LIFETIME),
        ("1e300", LONGEST_LIFETIME),
        ("null", None),
    ],
)
def test_a_number_of_seconds_is_read_and_clamped_to_a_year(  # S18, S19
    raw: str, lifetime: float | None
) -> None:
    granted = parse(answer(f'{{"access_token": "abc", "expires_in": {raw}}}'))
    assert granted.lifetime == lifetime
    assert granted.lifetime is None or isinstance(granted.lifetime, float)


@pytest.mark.parametrize(
    "raw",
    [
        "true",
        "false",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1",
        "-0.5",
        "[]",
        "[3600]",
        "{}",
        '"soon"',
        '""',
        '" 3600"',
        '"-1"',
        '"+3600"',
        '"1e3"',
        '"3600s"',
        '"NaN"',
        '"inf"',
        '"٣٦٠٠"',
        '"3_600"',
        '".5"',
        '"' + "9" * 400 + '"',
        "1" + "0" * 5000,
    ],
)
def test_any_other_expires_in_raises_a_typed_error(raw: str) -> None:  # S18
    refused(answer(f'{{"access_token": "{PLANTED}", "expires_in": {raw}}}'))


NOW = 1_800_000_000.0
YEAR, TEN_YEARS, FIFTY_YEARS = LONGEST_LIFETIME, 10 * 365.25 * DAY, 50 * 365 * DAY


def dated(expires_in: object, *, timed: bool = True) -> Granted:
    """The token from an answer made at `NOW`."""
    body = {**DOCUMENTED, "expires_in": expires_in}
    return parse(answer(body, moment=NOW), timed=timed)


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (NOW + HOUR, HOUR),
        (str(int(NOW + HOUR)), HOUR),
        (NOW + YEAR + DAY, YEAR),
        (NOW + TEN_YEARS - DAY, YEAR),
        # the clocks of client and server differ
        (NOW, 0.0),
        (NOW - HOUR, 0.0),
    ],
)
def test_an_expires_in_that_can_only_be_a_timestamp_is_read_as_one(  # S18
    expires_in: float | str, lifetime: float
) -> None:
    granted = dated(expires_in)
    assert (granted.lifetime, granted.notes) == (lifetime, (POINT_IN_TIME,))


@pytest.mark.parametrize(
    "expires_in", [HOUR, YEAR, YEAR + 1, FIFTY_YEARS, NOW - 2 * DAY, NOW + TEN_YEARS + DAY, 1e300]
)
def test_any_other_number_is_a_duration(expires_in: float) -> None:  # S18
    granted = dated(expires_in)
    assert (granted.lifetime, granted.notes) == (min(expires_in, YEAR), ())


def test_without_a_reference_clock_no_number_is_a_timestamp() -> None:
    assert parse(with_(expires_in=NOW + HOUR)).lifetime == YEAR


def test_a_clock_that_was_never_set_turns_no_duration_into_a_timestamp() -> None:  # S18
    body = {**DOCUMENTED, "expires_in": HOUR}
    assert parse(answer(body, moment=60.0)).lifetime == HOUR


@pytest.mark.parametrize("expires_in", [0, "0", 0.0], ids=repr)
def test_a_lifetime_of_zero_is_logged(expires_in: object) -> None:  # S18
    granted = dated(expires_in)
    assert (granted.lifetime, granted.notes) == (0.0, (NO_TIME,))


@pytest.mark.parametrize("expires_in", [0, -1, "never", None, [], True, 3600])
def test_a_configured_lifetime_overrides_expires_in(expires_in: object) -> None:
    granted = dated(expires_in, timed=False)
    assert (granted.lifetime, granted.notes) == (None, ())


def test_a_lifetime_that_cannot_be_read_names_the_remedy() -> None:  # S18
    assert "lifetime=" in str(refused(with_(expires_in="soon")))


def test_unknown_members_are_ignored() -> None:  # S20
    known = parse(answer(DOCUMENTED))
    assert parse(with_(created_at=1, id_token="x", iat=[], nested={"a": None})) == known


def test_a_token_of_512_kib_is_accepted() -> None:  # S21
    value = "x" * (512 * 1024)
    assert parse(with_(access_token=value)).value == value


@pytest.mark.parametrize(
    "body",
    [
        '{"access_token": "abc", "access_token": "abc"}',
        '{"access_token": "abc", "scope": "read", "scope": "write"}',
        '{"access_token": "abc", "x": {"y": 1, "y": 2}}',
    ],
)
def test_repeated_members_are_rejected(body: str) -> None:  # S22
    refused(answer(body))


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226, 299])
def test_a_token_under_any_2xx_is_a_grant(status: int) -> None:  # S23
    assert parse(answer(DOCUMENTED, status)) == parse(answer(DOCUMENTED))


@pytest.mark.parametrize("status", [100, 103, 304, 600, 999])
def test_a_token_under_another_status_than_a_2xx_is_an_error(status: int) -> None:  # S23
    error = refused(answer({**DOCUMENTED, "access_token": PLANTED}, status))
    assert not error.transient
    assert PLANTED not in str(error)


@pytest.mark.parametrize(
    ("members", "scope"),
    [
        ({"scope": "read write"}, "read write"),
        ({"scope": "read"}, "read"),
        ({"scope": "https://api/read!#[]~"}, "https://api/read!#[]~"),
        ({"scope": ""}, ""),
        ({"scope": None}, None),
        ({"scope": ...}, None),
        ({"scope": " read"}, "read"),
        ({"scope": "read write \n"}, "read write"),
        ({"scope": "read  write\tall"}, "read write all"),
        ({"scope": ["read", "write"]}, "read write"),
        ({"scope": [" read write", "all "]}, "read write all"),
        ({"scope": []}, ""),
    ],
)
def test_the_granted_scope_is_readable(  # S13
    members: dict[str, object], scope: str | None
) -> None:
    assert parse(with_(**members)).scope == scope


@pytest.mark.parametrize(
    "scope",
    [
        'a"b',
        "a\\b",
        "é",
        "a\0b",
        7,
        True,
        {},
        {"read": 1},
        ["read", 7],
        [["read"]],
        [None],
        "a" * 70_000,
    ],
)
def test_a_token_is_not_rejected_for_its_scope(scope: object) -> None:  # S13
    granted = parse(with_(scope=scope))
    assert (granted.value, granted.scope) == (DOCUMENTED["access_token"], None)


@pytest.mark.parametrize("value", ["", None, ...])
def test_an_answer_may_have_no_refresh_token(value: object) -> None:
    assert parse(with_(refresh_token=value)).refresh_token is None


@pytest.mark.parametrize("value", ["a\nb", "\0", "é", 7, ["a"], True])
def test_a_token_is_not_rejected_for_an_unusable_refresh_token(value: object) -> None:
    granted = parse(with_(refresh_token=value))
    assert (granted.value, granted.refresh_token) == (DOCUMENTED["access_token"], None)
    assert granted.notes == (NO_REFRESH_TOKEN,)


def test_a_refresh_token_may_hold_a_space() -> None:
    assert parse(with_(refresh_token="a b")).refresh_token == "a b"


# -- what is no JSON object ------------------------------------------------------------------------

BEHEADED = json.dumps(DOCUMENTED)[:-2]
WHOLE = json.dumps(DOCUMENTED).encode()

MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "white": b" \r\n",
    "HTML": b"<!DOCTYPE html><title>Maintenance</title>",
    "an array": b"[]",
    "an array of the object": b"[" + WHOLE + b"]",
    "a number": b"7",
    "a string": b'"access_token"',
    "a string of the object": json.dumps(WHOLE.decode()).encode(),
    "null": b"null",
    "true": b"true",
    "truncated": BEHEADED.encode(),
    "truncated in a string": BEHEADED[:30].encode(),
    "an open brace": b"{",
    "two objects": WHOLE + WHOLE,
    "trailing text": WHOLE + b"x",
    "a trailing comma": WHOLE[:-1] + b",}",
    "a comment": b"/* */" + WHOLE,
    "single quotes": WHOLE.replace(b'"', b"'"),
    "no quotes": b"{access_token: abc}",
    "form-encoded": b"access_token=abc&token_type=Bearer",
    "JSONP": b"callback(" + WHOLE + b")",
    "XSSI prefix": b")]}',\n" + WHOLE,
    "nested deeply": b"[" * 100_000,
    "nested deeply, closed": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects nested deeply": b'{"a":' * 100_000,
    "UTF-16 without a BOM": WHOLE.decode().encode("utf-16-le"),
    "a BOM inside": b"{\xef\xbb\xbf" + WHOLE[1:],
    "two BOMs": b"\xef\xbb\xbf\xef\xbb\xbf" + WHOLE,
    "Latin-1": '{"access_token": "abc", "name": "é"}'.encode("latin-1"),
    "a bare NUL": b"\0",
    "NUL after it": WHOLE + b"\0",
    "a raw newline in a string": b'{"access_token": "a\nb"}',
    "a raw NUL in a string": b'{"access_token": "a\0b"}',
    "a bad escape": b'{"access_token": "\\x41"}',
    "binary": bytes(range(256)),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "NaN": b"NaN",
    "NaN inside": b'{"access_token": "abc", "x": NaN}',
    "a number too long": b'{"access_token": "abc", "x": ' + b"9" * 5000 + b"}",
    "YAML": b"access_token: abc",
    "XML": b"<access_token>abc</access_token>",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_anything_but_a_json_object_raises_one_typed_error(body: bytes) -> None:  # S27
    error = refused(answer(body, headers={"content-type": "text/html; charset=utf-8"}))
    assert error.content_type == "text/html"
    assert error.error is None
    # a maintenance page is transient
    assert error.transient


def test_an_empty_body_is_reported_as_empty() -> None:  # S27
    assert "the body is empty" in str(refused(answer(b" \r\n", headers={})))
    assert "the body is not a JSON object" in str(refused(answer("[]")))


def test_a_content_type_is_not_needed_and_not_trusted() -> None:
    assert parse(answer(DOCUMENTED, headers={})).value == DOCUMENTED["access_token"]
    labelled = answer(DOCUMENTED, headers={"content-type": "text/html"})
    assert parse(labelled).value == DOCUMENTED["access_token"]


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32"], ids=["UTF-8", "UTF-16", "UTF-32"]
)
@pytest.mark.parametrize("headers", [JSON, {}, {"content-type": "text/plain; charset=latin-1"}])
def test_a_byte_order_mark_is_accepted(encoding: str, headers: Mapping[str, str]) -> None:  # S27
    body = json.dumps({**DOCUMENTED, "name": "Zoë"}, ensure_ascii=False).encode(encoding)
    assert parse(answer(body, headers=headers)) == parse(answer(DOCUMENTED))


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE])
def test_a_byte_order_mark_decides_the_encoding(mark: bytes) -> None:  # S27
    encoding = "utf-16-be" if len(mark) == 2 else "utf-32-be"
    assert parse(answer(mark + WHOLE.decode().encode(encoding))) == parse(answer(DOCUMENTED))


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("iso-8859-1", "latin-1"),
        ("ISO-8859-15", "iso-8859-15"),
        ('"windows-1252"', "cp1252"),
        ("'utf-16le'", "utf-16-le"),
        ("UTF-16BE; q=1", "utf-16-be"),
        ("shift_jis", "shift_jis"),
        ("gb18030", "gb18030"),
        # declared, but not sent
        ("utf-16", "utf-8"),
        ("us-ascii", "utf-8"),
        ("no-such-thing", "utf-8"),
        ("cp99999", "utf-8"),
        ("", "utf-8"),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_declared_charset_is_read(status: int, declared: str, encoding: str) -> None:  # S27
    text = "日本" if encoding in {"shift_jis", "gb18030"} else "naïve"
    body = {**DOCUMENTED, **({} if status == 200 else {"error": "invalid_grant"}), "name": text}
    written = json.dumps(body, ensure_ascii=False).encode(encoding)
    headers = {"content-type": f"application/json; charset={declared}"}
    outcome = parsed(answer(written, status, headers=headers), [])
    if status == 200:
        assert outcome == parse(answer(DOCUMENTED))
    else:
        assert isinstance(outcome, GrantRefused)


@pytest.mark.parametrize("codec", ["unicode_escape", "rot13", "zip", "base64", "idna", "punycode"])
def test_a_codec_that_is_not_a_charset_is_not_used(codec: str) -> None:  # S27
    headers = {"content-type": f"application/json; charset={codec}"}
    escaped = WHOLE.replace(b"access_token", b"access\\x5ftoken")
    assert "not a JSON object" in str(refused(answer(escaped, headers=headers)))
    assert parse(answer(WHOLE, headers=headers)) == parse(answer(DOCUMENTED))


# -- pages in place of answers ---------------------------------------------------------------------

HTML = {"content-type": "text/html; charset=utf-8"}
PAGES = [
    (b"<h1>Forbidden</h1>", HTML),
    (b"Access denied", HTML),
    (b" <!DOCTYPE html><title>Sign in</title>", JSON),
    (b"<HTML lang=en>", {}),
]


@pytest.mark.parametrize(("body", "headers"), PAGES)
@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 451])
def test_an_html_page_is_reported_as_one(status: int, body: bytes, headers: dict[str, str]) -> None:
    error = parsed(answer(body, status, headers=headers), [])
    assert isinstance(error, TokenError)
    assert "an HTML page, no OAuth answer: a firewall or proxy in between?" in str(error)
    assert error.transient


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (b'{"error": "invalid_request"}', 400, HTML),
        (b"", 403, HTML),
        (b'{"detail": "no"}', 403, HTML),
        (b"<?xml version='1.0'?><error/>", 403, {"content-type": "text/xml"}),
        (b"<h1>Bad Gateway</h1>", 502, HTML),
        (b"<h1>Not Found</h1>", 404, HTML),
    ],
)
def test_only_an_html_page_without_an_explanation_is_called_a_page(
    body: bytes, status: int, headers: dict[str, str]
) -> None:
    assert "HTML page" not in str(failure(answer(body, status, headers=headers)))


# -- refusals and outages --------------------------------------------------------------------------

CODES = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
]


VERDICTS = {"invalid_grant", "invalid_client", "unauthorized_client"}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_each_oauth_error_is_readable_with_its_status(code: str, status: int) -> None:  # S24
    body = {"error": code, "error_description": "The server says why."}
    with pytest.raises(GrantRefused if code in VERDICTS else GrantUnavailable) as caught:
        parse(answer(body, status))
    error = caught.value
    assert (error.error, error.status) == (code, status)
    assert error.description == "The server says why."
    assert error.content_type == "application/json"
    assert not error.transient
    for part in (code, str(status), "The server says why."):
        assert part in str(error)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("invalid_grant", "password"),
        ("invalid_client", "client secret"),
        ("invalid_scope", "check the scope"),
    ],
)
def test_an_error_names_the_remedy(code: str, remedy: str) -> None:
    error = failure(answer({"error": code}, 400), remedy="check the password")
    assert remedy in str(error)
    assert remedy in str(failure(answer({"error": code}, 404), remedy="check the password"))


@pytest.mark.parametrize("status", [301, 400, 503])
def test_a_failure_of_a_revocation_names_its_endpoint(status: int) -> None:
    error = failure(answer(b"", status), endpoint="revocation")
    assert "the revocation " in str(error)
    assert "token" not in str(error)


@pytest.mark.parametrize(("status", "hinted"), [(404, True), (405, True), (400, False)])
@pytest.mark.parametrize("body", [b"<html>", b"", b'{"error": "not_found"}'])
def test_a_url_without_a_token_endpoint_is_named(status: int, body: bytes, *, hinted: bool) -> None:
    url = "https://ann:planted@h.example/oauth/token;planted?planted=1#planted"
    told = str(failure(answer(body, status, url=url)))
    assert ("check the URL https://h.example/oauth/token)" in told) is hinted
    assert "planted" not in told


@pytest.mark.parametrize("code", CODES)
def test_an_error_overrides_a_token_in_the_same_body(code: str) -> None:  # S24
    reply = with_(error=code, access_token=PLANTED)
    with pytest.raises((GrantRefused, GrantUnavailable)) as caught:
        parse(reply)
    error = caught.value
    assert error.error == code
    assert code in str(error)
    assert PLANTED not in str(error)
    assert isinstance(error, GrantRefused) is (code in VERDICTS)
    assert not error.transient


@pytest.mark.parametrize("value", [7, ["x"], {"code": 400}, True])
def test_a_body_whose_error_is_not_text_grants_nothing(value: object) -> None:  # S24
    assert "error is not text" in str(refused(with_(error=value)))


@pytest.mark.parametrize("value", [None, "", 0, False, [], {}])
def test_an_empty_error_is_ignored(value: object) -> None:  # S24
    assert parse(with_(error=value)) == parse(answer(DOCUMENTED))


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 415, 422, 431, 451, 499])
def test_a_4xx_without_a_verdict_is_transient(status: int) -> None:  # S52
    error = failure(answer(b"", status, headers={}))
    assert type(error) is GrantUnavailable
    assert (error.status, error.content_type, error.error) == (status, None, None)
    assert error.transient


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "unauthorized_client"])
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503])
def test_a_verdict_on_the_credentials_is_a_refusal_with_any_status(  # S24, S52
    code: str, status: int
) -> None:
    with pytest.raises(GrantRefused) as caught:
        parse(answer({"error": code}, status, retry_after=7.0))
    assert (caught.value.error, caught.value.retry_after) == (code, 7.0)
    assert not caught.value.transient


@pytest.mark.parametrize(
    "code",
    ["temporarily_unavailable", "server_error", "slow_down", "access_denied", "INVALID_GRANT"],
)
@pytest.mark.parametrize("status", [200, 400, 403])
def test_an_error_that_does_not_judge_the_credentials_is_transient(
    code: str, status: int
) -> None:  # S52
    with pytest.raises(GrantUnavailable) as caught:
        parse(answer({"error": code}, status))
    assert (caught.value.error, caught.value.transient) == (code, True)


@pytest.mark.parametrize("secret", ["grant", "invalid_grant", "i"])
def test_a_verdict_counts_even_if_a_secret_is_part_of_its_code(secret: str) -> None:
    with pytest.raises(GrantRefused) as caught:
        parse(answer({"error": "invalid_grant"}, 400), secrets=[secret])
    assert caught.value.error == "invalid_grant"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 521, 599])
def test_a_transient_error_is_unavailable(status: int) -> None:  # F20
    error = failure(answer(b"<html>", status, retry_after=7.0))
    assert type(error) is GrantUnavailable
    assert error.transient
    assert error.retry_after == 7.0


def test_a_proxy_that_requires_a_login_is_not_transient() -> None:  # F19
    error = failure(answer(b"", 407))
    assert type(error) is GrantUnavailable
    assert not error.transient
    assert "proxy" in str(error)


def test_a_refusal_keeps_what_the_server_asked_for() -> None:
    assert failure(answer(b"", 400, retry_after=9.0)).retry_after == 9.0


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 399])
def test_a_redirect_is_not_transient(status: int) -> None:  # S9
    error = refused(answer(b"", status, headers={"location": "https://login.example/"}))
    assert f"a redirect (status {status}) to https://login.example/ is not followed" in str(error)
    assert "check the token URL" in str(error)
    assert not error.transient


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/elsewhere?token=planted", "to /elsewhere is"),
        ("https://ann:planted@h.example/a/@b#planted", "to https://h.example/a/@b is"),
        ("/login;jsessionid=planted", "to /login is"),
        ("/secret/p%6Canted-secret", "to *** is"),
        ("/planted-secret/x", "to /***/x is"),
        ("/\x1b[2J\n", r"to /\x1b[2J\n is"),
        ("/" + "a" * 500, "to /" + "a" * 199 + " is"),
        ("", "(status 308) is"),
    ],
)
def test_the_target_of_a_redirect_is_shown_without_its_secrets(  # S9, S55
    location: str, shown: str
) -> None:
    error = refused(answer(b"", 308, headers={"location": location}), "planted-secret")
    assert shown in str(error)
    assert "planted" not in str(error)


@pytest.mark.parametrize(
    ("url", "location", "hinted"),
    [
        ("https://h/oauth/token", "https://h/oauth/token/", True),
        ("https://h/oauth/token", "/oauth/token/", True),
        ("https://h/oauth/token?a=b", "/oauth/token/?a=b", True),
        ("https://h/oauth/token", "/login/", False),
        ("https://h/oauth/token", "/login/?next=/oauth/token/", False),
        ("https://h/oauth/token/", "https://other/oauth/token/", False),
        ("https://h", "https://login.example/", False),
        ("https://h/oauth/token", "//[", False),
        ("https://h/oauth/token", "", False),
    ],
)
def test_a_missing_trailing_slash_is_suggested(  # S9
    url: str, location: str, *, hinted: bool
) -> None:
    error = refused(answer(b"", 301, headers={"location": location}, url=url))
    assert ("last slash" in str(error)) is hinted


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"<html>", b'{"error": 7}', b'{"error": null}', b"\xff", b"[" * 100_000],
)
def test_the_body_of_a_4xx_may_be_anything(body: bytes) -> None:  # S27, S52
    error = failure(answer(body, 400))
    assert type(error) is GrantUnavailable
    assert error.error is None
    assert error.description is None


# -- a server's words ------------------------------------------------------------------------------


def test_control_characters_are_escaped() -> None:  # S25
    body = {"error": "bad\r\nX: y", "error_description": "a\x1b[31mb\u202ec\ud800"}
    error = failure(answer(body, 400))
    assert error.error == r"bad\r\nX: y"
    assert error.description == r"a\x1b[31mb\u202ec\ud800"
    assert str(error).isprintable()


def test_long_text_is_cut() -> None:  # S25
    error = failure(answer({"error": "e" * 5000, "error_description": "\n" * 5000}, 400))
    assert len(error.error or "") == MAX_DESCRIPTION
    assert len(error.description or "") == MAX_DESCRIPTION
    assert len(str(error)) < 3 * MAX_DESCRIPTION


SECRET = "päss&word=1 +%/"


@pytest.mark.parametrize("member", ["error", "error_description"])
@pytest.mark.parametrize(
    "echo",
    [SECRET, quote_plus(SECRET), quote(SECRET), quote(SECRET, safe="").lower()],
    ids=["as it is", "form-encoded", "percent-encoded", "in lower case"],
)
def test_own_secrets_are_masked(member: str, echo: str) -> None:  # S25, S46
    body = {member: f"got password={echo}; and {echo} again"}
    error = failure(answer(body, 400), secrets=["", SECRET])
    assert echo not in str(error)
    assert echo not in repr(vars(error))
    assert "password=***; and *** again" in str(error)


def test_own_secrets_are_masked_in_a_200_too() -> None:  # S25
    with pytest.raises(GrantUnavailable) as caught:
        parse(with_(error="no planted-password"), secrets=["planted-password"])
    assert caught.value.error == "no ***"


@pytest.mark.parametrize("status", [200, 400])
def test_a_header_value_echoed_by_the_server_is_masked(status: int) -> None:  # S55
    body = {"error": "x", "error_description": "no such key planted-key, cGxhbnRlZC1rZXk="}
    error = parsed(answer(body, status, sent=("planted-key",)), [])
    assert isinstance(error, TokenError)
    assert error.description == WITHHELD
    assert parse(with_(scope="planted-key")).scope == "planted-key"
    kept = parse(answer({**DOCUMENTED, "scope": "planted-key"}, sent=("planted-key",)))
    assert kept.scope is None


def test_the_content_type_is_cleaned_too() -> None:  # S25
    headers = {"content-type": "text/\x1bhtml" + "x" * 500 + "; charset=utf-8"}
    error = failure(answer(b"", 400, headers=headers))
    assert (error.content_type or "").startswith(r"text/\x1bhtmlxxx")
    assert len(error.content_type or "") == MAX_DESCRIPTION


@pytest.mark.parametrize("status", [200, 400, 503])
def test_own_secrets_are_masked_in_the_content_type_too(status: int) -> None:  # S25
    headers = {"content-type": "text/planted;password"}
    with pytest.raises(TokenError) as caught:
        parse(answer(b"", status, headers=headers), secrets=["planted;password"])
    assert caught.value.content_type == "text/***"
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("code", ["invalid_grant", "unauthorized_client", "slow_down"])
def test_a_standard_error_code_is_shown_although_it_contains_a_secret(code: str) -> None:  # S55
    error = failure(answer({"error": code}, 400), secrets=["a", code, "client"])
    assert error.error == code


@pytest.mark.parametrize("status", [200, 400])
def test_a_code_that_repeats_an_escaped_secret_is_not_shown(status: int) -> None:  # S55
    error = parsed(answer({"error": "no_&#112;lanted-password"}, status), ["planted-password"])
    assert isinstance(error, TokenError)
    assert error.error == "***"
    assert "lanted" not in str(error)


def test_a_description_that_repeats_an_escaped_secret_is_withheld() -> None:  # S55
    body = {"error": "invalid_grant", "error_description": r"not \"planted\u002dpassword\""}
    error = failure(answer(body, 400), secrets=["planted-password"], remedy="log in again")
    assert error.description == WITHHELD
    assert str(error).endswith(f"invalid_grant: {WITHHELD} (log in again)")


def test_a_content_type_that_repeats_an_escaped_secret_is_not_shown() -> None:  # S55
    headers = {"content-type": "text/cGxhbnRlZC1wYXNzd29yZA"}
    error = failure(answer(b"", 400, headers=headers), secrets=["planted-password"])
    assert error.content_type == "***"


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("member", ["access_token", "refresh_token"])
def test_a_token_that_comes_with_an_error_is_masked(status: int, member: str) -> None:  # S55
    body = {
        member: "planted-token",
        "error": "bad planted-token",
        "error_description": "bad planted-token",
    }
    error = parsed(answer(body, status), [])
    assert isinstance(error, TokenError)
    assert error.error == "bad ***"
    assert "planted" not in f"{error} {vars(error)}"


def test_a_token_that_is_not_valid_unicode_is_masked_too() -> None:  # S55
    body = {"access_token": "\ud800 token", "error": "x", "error_description": "\ud800 token!"}
    assert failure(answer(body, 400)).description == "***!"


@pytest.mark.parametrize(
    "echo", ["planted+pass", "planted%2Bpass", "planted%252Bpass", "cGxhbnRlZCtwYXNz"]
)
def test_a_scope_that_repeats_a_secret_is_dropped(echo: str) -> None:  # S55
    scopes = " ".join(f"https://www.example.com/auth/calendar.{it}" for it in range(90))
    reply = with_(scope=f"{scopes} {echo}")
    assert parse(reply, secrets=["planted+pass"]).scope is None
    assert parse(reply, secrets=["another+pass"]).scope == f"{scopes} {echo}"


# -- any answer at all -----------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from([math.inf, "Bearer", "3600"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
members = st.dictionaries(
    st.sampled_from([*DOCUMENTED, "error", "error_description"]) | st.text(max_size=5), json_values
)
likely_bodies = st.builds(
    lambda base, changes: json.dumps({**base, **changes}).encode(),
    st.sampled_from([{}, DOCUMENTED]),
    members,
)
headers_of_any_kind = st.dictionaries(
    st.sampled_from(["content-type", "location", "retry-after"]), st.text(max_size=40)
)


@TRIES
@given(
    st.just(200) | st.integers(-1, 1100),
    headers_of_any_kind,
    likely_bodies | st.binary(),
    st.text(max_size=30),
    st.lists(st.text(max_size=8), max_size=2),
)
@example(200, {}, b'{"access_token": "abc"}', "", [])
def test_any_answer_is_a_grant_or_a_token_error(
    status: int, headers: dict[str, str], body: bytes, url: str, secrets: list[str]
) -> None:
    outcome = parsed(answer(body, status, headers=headers, url=url), secrets)
    if isinstance(outcome, TokenError):
        assert outcome.status == status
        assert outcome.__context__ is None
        assert str(outcome).isprintable()
    else:
        assert 200 <= status < 300
        assert outcome.value.isascii()
        assert outcome.value.isprintable()
        assert " " not in outcome.value
        assert outcome.lifetime is None or 0 <= outcome.lifetime <= LONGEST_LIFETIME


def parsed(reply: Answer, secrets: list[str]) -> Granted | TokenError:
    try:
        return parse(reply, secrets=secrets)
    except TokenError as error:
        return error
