"""Fuzzes the answers of a token endpoint: only the library's errors are raised, without a secret.

Not collected by pytest; atheris is not among the extras. For ten minutes:

    pip install atheris && python tests/fuzz/fuzz_response.py -max_total_time=600

Any option of libFuzzer may follow. The seeds look like real answers of Django OAuth Toolkit and of
other servers.
"""

from __future__ import annotations

import html
import json
import sys
import tempfile
import time
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # has no stubs

with atheris.instrument_imports(include=["evertoken", "json", "email"]):
    from evertoken.errors import TokenError
    from evertoken.grants import answer, http_dates, response

SECRET = "pläin secret&that/nobody=may see"
SENT = "x-api-key of the fuzzed"
STATUSES = [200, 200, 201, 202, 400, 401, 403, 407, 429, 500, 503, 301, 103, 204, 418, 600]
TYPES = [
    *("application/json", "text/html; charset=utf-8", "", "\x00\x1b[31m", "a" * 500),
    *("application/json; charset=iso-8859-1", 'text/json;charset="utf-16"', ";charset=utf-7"),
    *("text/x;charset=shift_jis", "application/json; charset=unicode_escape", ";charset=cp0"),
]
MOMENT = 1_800_000_000.0
MOMENTS = [None, MOMENT, 0.0, 4e9]
RETRIES = ["", "120", "Wed, 21 Oct 2099 07:28:00 GMT", "Sun Nov  6 08:49:37 2094"]
URL = "https://api.example.com/oauth/token/"
YEAR = 365 * 24 * 3600

GRANTED = {
    "access_token": "OBs8bc5PdrzQNd3FaMRp5CkHFhinD9",
    "token_type": "Bearer",
    "expires_in": 36000,
    "refresh_token": "tEonECLhjMlLf4ZWs56LT43HOrivEt",
    "scope": "read write",
}
REFUSED = {"error": "invalid_grant", "error_description": "Invalid credentials given."}
BODIES: list[tuple[int, bytes]] = [
    (200, json.dumps(GRANTED).encode()),
    (200, json.dumps({**GRANTED, "token_type": "bearer", "expires_in": "3599"}).encode()),
    (200, json.dumps({**GRANTED, "expires_in": 3599.5, "created_at": 1, "id_token": "x"}).encode()),
    (200, json.dumps({**GRANTED, "scope": "", "refresh_token": None}).encode()),
    (200, json.dumps({**GRANTED, "expires_in": [1, {"a": None}]}).encode()),
    (200, json.dumps({**GRANTED, **REFUSED}).encode()),
    (200, b'{"access_token":"a","access_token":"b","expires_in":1e400,"token_type":NaN}'),
    (200, b'{"access_token":"a\\r\\nb\\u0000\\ud800","expires_in":-1,"token_type":"mac"}'),
    (200, b"\xef\xbb\xbf{}"),
    (201, b"\xef\xbb\xbf" + json.dumps(GRANTED).encode()),
    (200, json.dumps(GRANTED).encode("utf-16")),
    (202, json.dumps({**GRANTED, "scope": ["read", " write "], "token_type": None}).encode()),
    (200, json.dumps({**GRANTED, "scope": [["a"], 7], "refresh_token": 7}).encode()),
    (200, json.dumps({**GRANTED, "token_type": "BearerToken ", "expires_in": 0}).encode()),
    (200, json.dumps({**GRANTED, "token_type": ["\x1b", SECRET], "error": None}).encode()),
    (200, json.dumps({**GRANTED, "expires_in": int(MOMENT) + 3600}).encode()),
    (200, json.dumps({**GRANTED, "expires_in": str(int(MOMENT) - 60), "error": ""}).encode()),
    (403, f"<html>{SECRET} {SENT}</html>".encode()),
    (200, b"[[[[[[[["),
    (200, b"<html><body>maintenance</body></html>"),
    (200, b""),
    (400, json.dumps(REFUSED).encode()),
    (400, json.dumps({**REFUSED, "error_description": f"\x1b[2J {SECRET}" * 9}).encode()),
    (400, b'{"error": {"code": 400}, "error_description": ["x"]}'),
    (400, json.dumps({**REFUSED, "error_description": html.escape(json.dumps(SECRET))}).encode()),
    (401, b'{"error": "invalid_client"}'),
    (403, b'{"detail": "You do not have permission to perform this action."}'),
    (429, b'{"detail": "Request was throttled. Expected available in 60 seconds."}'),
    (500, b"<h1>Server Error (500)</h1>"),
]


def seeds() -> list[bytes]:
    """Status, content type and `Retry-After` by one byte each, then the body."""
    written = [bytes([STATUSES.index(status), 0, 1]) + body for status, body in BODIES]
    return [*written, *(bytes([status, 128, 200]) + bytes(range(200)) for status in (0, 5))]


def document(source: atheris.FuzzedDataProvider) -> bytes:
    """A JSON object with the relevant members, with values of every kind."""
    members = {}
    for name in (*GRANTED, *REFUSED):
        number, text = source.ConsumeFloat(), source.ConsumeUnicode(20)
        whole = source.ConsumeInt(9)
        values = [GRANTED.get(name), text, number, whole, str(number), None, True, [text], {}]
        values += [f" {text} ", [text, text], "BearerToken", int(MOMENT) + source.ConsumeInt(5), ""]
        if (chosen := source.ConsumeIntInRange(0, 16)) < len(values):
            members[name] = values[chosen]
    encoding = source.PickValueInList(["utf-8", "utf-8-sig", "utf-16", "utf-32-le", "latin-1"])
    return json.dumps(members).encode(encoding)


def check(data: bytes) -> None:
    """Check one answer: a token that a header can carry, or an error that can be logged."""
    if len(data) < 3:
        return
    status, kind, retry, body = data[0], data[1], data[2], data[3:]
    if kind >= 128:
        body = document(atheris.FuzzedDataProvider(body))
    # the search for secrets takes ten times as long as the rest
    masked = retry % 8 == 1
    retry_after = RETRIES[retry] if retry < len(RETRIES) else body[:60].decode("latin-1")
    fuzzed = answer.Answer(
        url=URL,
        status=STATUSES[status % len(STATUSES)],
        headers={"content-type": TYPES[kind % len(TYPES)], "location": body[:80].decode("latin-1")},
        body=body,
        retry_after=checked_wait(http_dates.retry_after(retry_after, time.time())),
        moment=MOMENTS[kind % len(MOMENTS)],
        sent=(SENT,) if masked else (),
    )
    secrets = [SECRET] if masked else []
    try:
        granted = response.parse(fuzzed, secrets=secrets, timed=retry % 5 > 0)
    except TokenError as error:
        check_error(error, masked=masked)
    else:
        check_grant(granted)


def checked_wait(seconds: float | None) -> float | None:
    assert seconds is None or seconds >= 0
    return seconds


def check_grant(granted: response.Granted) -> None:
    assert granted.value
    assert all("!" <= character <= "~" for character in granted.value)
    assert granted.lifetime is None or 0 <= granted.lifetime <= YEAR
    assert granted.scope is None or granted.scope == " ".join(granted.scope.split())
    assert granted.scope is None or (granted.scope.isascii() and granted.scope.isprintable())
    assert granted.refresh_token is None or granted.refresh_token.isprintable()
    assert all(note.isprintable() and len(note) < 200 for note in granted.notes)


def letters(text: str) -> str:
    """The letters that most escaped forms of a secret keep."""
    return "".join(filter(str.isalnum, text.casefold()))


def check_error(error: TokenError, *, masked: bool) -> None:
    shown = f"{error}{error.error}{error.description}{error.content_type}"
    assert shown.isprintable()
    assert len(shown) < 3000
    # separately: the end of one and the beginning of the next may form a secret
    words = [*str(error).split(": "), error.error, error.description, error.content_type]
    for word in filter(None, words if masked else []):
        assert letters(SECRET) not in letters(word)
        assert letters(SENT) not in letters(word)
    assert error.__cause__ is None
    # only an answer without a token may lead here
    assert error.__context__ is None or not isinstance(error.__context__, TokenError)


def main() -> None:
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for number, seed in enumerate(seeds()):
        (corpus / f"{number:02}").write_bytes(seed)
        check(seed)
    words = corpus.with_suffix(".dict")
    names = [*GRANTED, *REFUSED, "Bearer", "mac", "NaN", "1e400", "\\\\u000d", "GMT"]
    words.write_text("".join(f'"{name}"\n' for name in names))
    atheris.Setup([*sys.argv, f"-dict={words}", str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
