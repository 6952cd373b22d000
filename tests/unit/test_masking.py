"""A server's text is quoted without the secrets that it echoes in any form."""

from __future__ import annotations

import base64
import html
import json
import string
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evertoken.core.entry import Entry
from evertoken.core.token import TokenKey
from evertoken.grants import decoding, masking
from evertoken.grants.answer import Answer
from evertoken.grants.error_answer import failure
from evertoken.grants.masking import MAX_DESCRIPTION, WITHHELD, clean, repeats
from evertoken.stores import record
from support.core_values import refusal
from support.entries import SALT
from support.escapes import ESCAPES, FINAL, HARD, LOSSY, passwords
from support.strategies import TRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evertoken import TokenError

LAST = {**ESCAPES, **FINAL, **LOSSY}
KEY = TokenKey("https://id.example.com/token/", "client")
SECRET = "pl4nted&word"


def is_recognised(quoted: str) -> bool:
    return quoted == WITHHELD or "***" in quoted


def refusal_of(text: str, *secrets: str) -> TokenError:
    """The error of a refusal that contains `text` in every possible place."""
    members = {"error": text, "error_description": text}
    headers = {"content-type": text}
    body = json.dumps(members).encode()
    return failure(
        Answer(url=KEY.token_url, status=400, headers=headers, body=body), secrets=secrets
    )


def shown_by(error: TokenError) -> Iterator[str]:
    """Everything that a user, a log or a store's file can show of `error`."""
    yield from (str(error), repr(error), str(vars(error)))
    yield from filter(None, (error.error, error.description, error.content_type))
    entry = Entry(failures=(replace(refusal(), error=error),), salt=SALT)
    stored = record.encode(entry, KEY, boot=None)
    assert stored is not None
    yield from (stored.decode(), str(json.loads(stored)))


# -- what is found ---------------------------------------------------------------------------------


def is_missed(password: str, echo: str) -> bool:
    return not is_recognised(clean(f"wrong password: {echo} (7)", [password]))


@pytest.mark.parametrize("name", LAST)
def test_every_escape_is_recognised(name: str) -> None:  # S55
    assert [password for password in HARD if is_missed(password, LAST[name](password))] == []


@pytest.mark.parametrize("last", ESCAPES)
def test_every_escape_of_an_escape_is_recognised(last: str) -> None:  # S55
    missed = [
        (password, first)
        for password in HARD[:6]
        for first, escape in ESCAPES.items()
        if is_missed(password, ESCAPES[last](escape(password)))
    ]
    assert missed == []


@settings(TRIES, max_examples=300)
@given(
    password=passwords,
    first=st.sampled_from([str, *ESCAPES.values()]),
    last=st.sampled_from([*ESCAPES.values(), *FINAL.values()]),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
)
def test_an_escaped_password_is_shown_nowhere(
    password: str,
    first: Callable[[str], str],
    last: Callable[[str], str],
    before: str,
    after: str,
) -> None:  # S55
    echo = last(password if last in FINAL.values() else first(password))
    empty = Answer(url=KEY.token_url, status=400, headers={}, body=b"")
    # the rest of the message may contain a very short password by chance
    ours = "\n".join([*shown_by(failure(empty)), WITHHELD, "***"])

    error = refusal_of(f"{before} {echo} {after}", password)

    assert is_recognised(error.description or "")
    assert is_recognised(error.error or "")
    # a shorter one may be part of a checksum by chance
    for form in {form for form in (echo, password) if len(form) >= 8 and form not in ours}:
        assert not any(form in shown for shown in shown_by(error))


@pytest.mark.parametrize(
    "echo",
    [
        html.escape(html.escape(html.escape(SECRET))),
        base64.b64encode(f"client:{quote(SECRET)}".encode()).decode(),
        quote(quote(json.dumps(html.escape(SECRET)), safe=""), safe=""),
        json.dumps({"request": {"p": base64.b64encode(SECRET.encode()).decode()}}, indent=2),
        f"/auth/{base64.urlsafe_b64encode(SECRET.encode()).decode()}",
        f"#0{SECRET.encode().hex()}",
        base64.b64encode(
            quote(ESCAPES[r"\u, all"](ESCAPES["HTML, decimal"](SECRET)), safe="").encode()
        ).decode(),
        "&#55357;&#56832;".join(SECRET),
    ],
)
def test_deeper_and_embedded_forms_are_recognised(echo: str) -> None:  # S55
    assert clean(f"cannot use {echo}", [SECRET]) == WITHHELD


@pytest.mark.parametrize(
    ("password", "echo"),
    [
        ("Größe7", quote("GRÖSSE7")),
        ("ñü10ýY", quote("ñü10ýY".encode().decode("latin-1"))),
        ("ßñ€1ß2", "ßñ€1ß2".encode().decode("cp1252")),
        ("пéяéж1", quote(ESCAPES["HTML, named"]("пéяéж1"))),
        ("42ab=cdé", "password=42ab=3Dcd=C3=A9"),
        (
            "".join(map(chr, range(0x1D4D0, 0x1D4D6))),
            "".join(map("&#55349;&#{};".format, range(56528, 56534))),
        ),
        ("éжñя", unicodedata.normalize("NFD", "éжñя")),
        ("éжàñô", unicodedata.normalize("NFD", "éжàñô").encode("ascii", "replace").decode()),
        ("Éжñя漢", unicodedata.normalize("NFD", "Éжñя漢".encode().decode("latin-1"))),
        ("пя漢字ж", "'=D0=BF=D1=8F=E6=BC=A2=E5=\\n=AD=97=D0=B6'"),
    ],
    ids=[
        "in upper case",
        "mistaken twice",
        "Windows-1252",
        "escaped in part",
        "at the beginning",
        "code units",
        "NFD",
        "NFD, replaced by ?",
        "NFD of UTF-8 as Latin-1",
        "broken lines",
    ],
)
def test_letters_that_an_encoding_changes_are_recognised(password: str, echo: str) -> None:  # S55
    assert is_recognised(clean(f"no {echo}", [password]))


def test_the_longest_doubly_escaped_forms_are_searched_whole() -> None:  # S55
    password = "".join(map(chr, range(0x1D4D0, 0x1D4D0 + 60)))
    echo = ESCAPES["HTML, padded"](ESCAPES[r"\U, all"](password))

    assert len(echo) > 5000
    assert clean(echo, [password]) == WITHHELD


# -- what is not shown in part ---------------------------------------------------------------------


@pytest.mark.parametrize("name", LAST)
def test_no_part_of_a_secret_is_shown_at_the_cut(name: str) -> None:  # S55
    password = HARD[4]
    echo = LAST[name](password)
    for start in range(MAX_DESCRIPTION - 40, MAX_DESCRIPTION):
        shown = clean("." * start + echo + "." * 5000, [password])
        assert shown == WITHHELD or set(shown) <= set(".*'\"")


@pytest.mark.parametrize("echo", [SECRET, html.escape(SECRET)], ids=["as it is", "escaped"])
def test_no_part_of_a_secret_is_shown_that_masking_moves_before_the_cut(echo: str) -> None:  # S55
    # each mask is shorter than its secret, so later text moves into the quoted part
    for filler in range(0, 80, 3):
        for count in range(250, 330, 2):
            shown = clean("." * filler + SECRET * count + echo + "." * 5000, [SECRET])
            assert shown == WITHHELD or set(shown) <= set(".*")


def test_a_secret_longer_than_the_searched_text_is_not_shown_in_part() -> None:  # S55
    token = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9." * 500
    for words in (token, html.escape(f"<{token}>"), json.dumps({"token": token})):
        assert clean(words, [token]) == WITHHELD


def test_words_before_a_long_secret_are_quoted() -> None:  # S55
    token = "t0ken" * 600
    assert clean(f"what is {token}?", [token]) == "what is ***?"
    assert clean(f"what is {token}? {'.' * 9000}", [token]) == "what is ***"


def test_the_mask_of_one_secret_does_not_hide_the_rest_of_another() -> None:  # S55
    assert clean("no abcd&eacute;fgh", ["abcd", "abcdéfgh"]) == WITHHELD


def test_a_secret_inside_another_is_masked_completely() -> None:  # S25
    assert clean("it was abcdef", ["abcd", "abcdef"]) == "it was ***"


def test_a_secret_inside_the_encoded_form_of_another_is_masked_with_it() -> None:  # S25
    pair = base64.b64encode(f"client:{SECRET}".encode()).decode()
    assert clean(f"no {SECRET}, Basic {pair}", [SECRET, pair]) == "no ***, Basic ***"


def test_overlapping_secrets_are_masked_completely() -> None:  # S25
    assert clean("it was abcdefgh!", ["abcdef", "cdefgh"]) == "it was ***!"
    assert clean("it was aaaaaaa!", ["aaaa"]) == "it was ***!"


def test_a_secret_is_masked_before_the_words_are_cut() -> None:  # S25
    words = "x" * (MAX_DESCRIPTION - 3) + "planted-password"
    assert "pla" not in clean(words, ["planted-password"])


# -- what is quoted --------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [*HARD, "correct horse battery staple"])
@pytest.mark.parametrize(
    "words",
    [
        "Invalid credentials given.",
        "AADSTS50126: Error validating credentials. Trace ID: 9f2c3a7e-5a4b-4f6c-8b1d-3e2f1a0b9c8d",
        "Too many requests: see https://id.example.com/docs?code=E1042&lang=en%2DGB#limits",
        r'{"detail": "\u00dcberpr\u00fcfen Sie &quot;client_id&quot; und C:\\tokens\\new"}',
        "Benutzername oder Kennwort ungültig",
        "неверный логин",
    ],
)
def test_an_ordinary_description_is_quoted_as_it_is(words: str, password: str) -> None:  # S55
    assert clean(words, [password, "Zm9vYmFyOjxx", "another/Client+Secret"]) == words


@TRIES
@given(st.text(string.printable + "äöüéèß€", max_size=MAX_DESCRIPTION // 6), st.sampled_from(HARD))
def test_any_text_without_the_secret_is_quoted(text: str, password: str) -> None:  # S55
    assert clean(text, [password]) == clean(text)
    assert clean(text) != WITHHELD


@pytest.mark.parametrize("password", ["x", "pw1", "&%<>", "密码", "🎉🎊", "  ", "ßß"])
def test_a_secret_too_short_to_be_recognised_withholds_the_whole_text(
    password: str,
) -> None:  # S55
    assert clean("Invalid credentials given.", [password]) == WITHHELD
    assert clean("bad_thing", [password], withheld="***") == "***"


@pytest.mark.parametrize(
    "number", ["9" * 6000, "0" * 6000 + "97", "9" * 12 + "97", "x" + "f" * 6000]
)
def test_an_unterminated_entity_is_accepted(number: str) -> None:  # S55
    assert repeats(f"&#{number}; {html.escape(SECRET)}", [SECRET])
    assert not repeats(f"&#{number};", [SECRET])
    assert clean(f"&#{number}; {html.escape(SECRET)}", [SECRET])


def test_without_a_secret_everything_is_quoted() -> None:
    assert clean("Invalid credentials &amp; such", ["", ""]) == "Invalid credentials &amp; such"
    assert not repeats("read write", ["", ""])


def test_a_long_description_costs_no_more_than_a_short_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # S55
    spent: list[int] = []

    def count(text: str) -> str:
        spent.append(len(text))
        return text

    monkeypatch.setattr(masking, "DECODERS", (count, *decoding.DECODERS))
    for words in ("%2541&amp;\\u0041=41YWJjZGVmZ2g= 6162636465" * 25_000, "aaaa" * 250_000):
        spent.clear()
        clean(words, [SECRET])
        assert sum(spent) < 300_000


@TRIES
@given(st.text("ab\n"), st.lists(st.text("ab", min_size=2, max_size=6), max_size=3))
def test_cleaned_words_are_short_printable_and_without_a_secret(
    text: str, secrets: list[str]
) -> None:  # S25
    shown = clean(text, secrets)
    assert len(shown) <= MAX_DESCRIPTION
    assert shown.isprintable()
    assert not any(secret in shown for secret in secrets)


def test_a_secret_with_lone_surrogates_is_masked_like_any_other() -> None:  # S55
    assert clean("it was tok\ud800en-1", ["tok\ud800en-1"]) == "it was ***"
