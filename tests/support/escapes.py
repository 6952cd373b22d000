"""Escapes that servers apply to echoed text, and passwords that make them hard to undo."""

from __future__ import annotations

import base64
import html
import json
import quopri
import re
import shlex
import unicodedata
from html.entities import codepoint2name
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, urlencode

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Escape = Callable[[str], str]


def _each(escape: Callable[[str], str]) -> Escape:
    return lambda text: "".join(map(escape, text))


def _each_byte(form: str, encoding: str = "utf-8") -> Escape:
    return lambda text: "".join(form.format(byte) for byte in text.encode(encoding))


def _each_unit(form: str) -> Escape:
    """Escape each UTF-16 code unit: two for a character beyond the BMP."""
    return lambda text: "".join(
        form.format(unit) for unit in memoryview(text.encode("utf-16-le")).cast("H")
    )


def _named_entity(character: str) -> str:
    name = codepoint2name.get(ord(character))
    return f"&{name};" if name else character


def _base64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


ESCAPES: Mapping[str, Escape] = {
    "HTML": html.escape,
    "HTML, named": _each(_named_entity),
    "HTML, decimal": _each(lambda it: f"&#{ord(it)};"),
    "HTML, padded": _each(lambda it: f"&#{ord(it):06};"),
    "HTML, code units": _each_unit("&#{};"),
    "HTML, hexadecimal": _each(lambda it: f"&#x{ord(it):x};"),
    "JSON": json.dumps,
    "JSON, non-ASCII as it is": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON, solidus": lambda text: json.dumps(text).replace("/", r"\/"),
    r"\u, all": _each_unit(r"\u{:04x}"),
    r"\u, upper case": _each_unit(r"\u{:04X}"),
    r"\u{}": _each(lambda it: rf"\u{{{ord(it):x}}}"),
    r"\x{}": _each(lambda it: rf"\x{{{ord(it):x}}}"),
    "%u": _each_unit("%u{:04X}"),
    "repr": repr,
    "ascii": ascii,
    "repr of bytes": lambda text: repr(text.encode()),
    "unicode_escape": lambda text: text.encode("unicode_escape").decode(),
    r"\U, all": _each(lambda it: rf"\U{ord(it):08X}"),
    r"\x, all": _each_byte(r"\x{:02x}"),
    "octal": _each_byte(r"\{:03o}"),
    "form": quote_plus,
    "percent": lambda text: quote(text, safe=""),
    "percent, all": _each_byte("%{:02X}"),
    "percent, lower case": _each_byte("%{:02x}"),
    "quoted-printable": lambda text: quopri.encodestring(text.encode(), quotetabs=True).decode(),
    "quoted-printable, all": _each_byte("={:02X}"),
    "LDAP": lambda text: re.sub(r"[^0-9A-Za-z]+", lambda run: _each_byte(r"\{:02x}")(run[0]), text),
    "LDAP, all": _each_byte(r"\{:02x}"),
    "backslashes": re.escape,
    "backslash, all": _each(lambda it: f"\\{it}"),
    "SQL": lambda text: "'" + text.replace("'", "''") + "'",
    "CSV": lambda text: '"' + text.replace('"', '""') + '"',
    "shell": shlex.quote,
    "shell, double quotes": lambda text: '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"',
    "base64": _base64,
    "base64, URL-safe": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64, no padding": lambda text: _base64(text).rstrip("="),
    "base64, wrapped": lambda text: base64.encodebytes(("x" * 53 + text).encode()).decode(),
    "base64 of a Basic pair": lambda text: _base64(f"client:{text}"),
    "base64 of an encoded Basic pair": lambda text: _base64(f"client:{quote_plus(text)}"),
    "base64 of a form": lambda text: _base64(urlencode({"grant_type": "password", "p": text})),
    "base64 of JSON": lambda text: _base64(json.dumps({"password": text})),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, upper case": lambda text: text.encode().hex().upper(),
    "hexadecimal, colons": lambda text: text.encode().hex(":"),
    "hexadecimal, spaces": lambda text: text.encode().hex(" "),
    "list of hexadecimal": lambda text: ", ".join(f"{byte:#04x}" for byte in text.encode()),
    "list of bytes": lambda text: str(list(text.encode())),
    "UTF-8 as Latin-1": lambda text: text.encode().decode("latin-1"),
    "NFC": lambda text: unicodedata.normalize("NFC", text),
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "line breaks": lambda text: re.sub("(.....)", "\\1\r\n  ", text),
}
"""Escapes by name. Any of them may be applied to the result of another."""

FINAL: Mapping[str, Escape] = {
    "HTML, hexadecimal without semicolon": _each(lambda it: f"&#X{ord(it):X} "),
    "base64, grouped": lambda text: re.sub("(....)", r"\1 ", _base64(text)),
    "upper case": str.upper,
    "lower case": str.lower,
    "spaced out": " ".join,
}
"""Escapes by name, which are not recognised if another one is applied to the result."""

LOSSY: Mapping[str, Escape] = {
    "Windows-1252": lambda text: text.encode().decode("cp1252", "replace"),
    "replaced by ?": lambda text: text.encode("ascii", "replace").decode(),
    "not ASCII left out": lambda text: text.encode("ascii", "ignore").decode(),
    "base64 of UTF-16": lambda text: _base64(text.encode("utf-16-le")),
    "base64 of UTF-16, big endian": lambda text: _base64(text.encode("utf-16-be")),
    "Latin-1 as Hebrew": lambda text: text.encode("latin-1", "replace").decode("cp1255", "replace"),
    "UTF-16 as Latin-1": lambda text: text.encode("utf-16-le").decode("latin-1"),
}
"""Escapes by name, recognised by the letters of a password that they do not change."""

HARD = (
    "S3cr&t\"<p\\w>\u00e9'",
    "%41bc\\u0041&amp;+ =x",
    "a+b c%20d%2Be&lt;f",
    r"''\'\\\"\n\x41 sh`o`w $me",
    "Pässwörd of the 'planted' user/42+",
    "пароль/и пробел+7361&",
    "e\u0301a\u0323\u0301 co\u0308mbi\u00f1ed",
    "🎉bc😀 <emo\U0001d49cji> & co",
    "密码是什么呢&amp;\u3000ok",
    "=3D=E9 qu0ted=\tprintable",
    "deadBEEF0123",
    "c2VjcmV0IQ==",
)
"""Passwords that look like escapes, or that escapes change a lot."""

_PIECES = ["%41", "%2B", r"\u0041", r"\x41", r"\n", "&amp;", "&#65;", "''", '""', "=3D", "Ã©", "\0"]
_SPECIAL = "\"'\\&<>%+/=;:#$`-_ ~*?{}\téßñü\u0301\u0323\u200dпж漢字😀🎉\U0001d49c"

passwords = st.lists(
    st.sampled_from([*"abcxyzABC0149", *_SPECIAL, *_PIECES])
    | st.characters(exclude_categories=["Cs"]),
    min_size=1,
    max_size=40,
).map("".join)
"""Any possible password, with special characters first."""
