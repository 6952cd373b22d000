"""Undoes what servers do to text before they repeat it (pure).

Each decoder takes any text and undoes one kind of escape wherever it occurs. A byte becomes the
character of the same number (Latin-1), whatever the encoding of the bytes.
"""

from __future__ import annotations

import binascii
import html
import re
import sys
import unicodedata
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_HEX = "[0-9a-fA-F]"
_BASES = {"octal": 8, "decimal": 10}
_TEXT = {"line": "\n", "itself": None}
_CONTROL = bytes(range(32))
_SPACE = re.compile(r"\s+")

# int() takes no more than 4,300 digits
_ZEROS = re.compile(r"&#0+(?=\d)")
_NO_CHARACTER = re.compile(r"&#[1-9]\d{9,};?")
_ENTITY = re.compile(rf"&#(?:(?P<decimal>\d{{1,9}})|[xX](?P<point>{_HEX}{{1,8}}));?")
_PERCENT = re.compile(rf"%(?P<byte>{_HEX}{{2}})|%[uU](?P<unit>{_HEX}{{4}})")
_QUOTED_PRINTABLE = re.compile(rf"=(?P<byte>{_HEX}{{2}})|=\r?\n")
_LDAP = re.compile(rf"\\(?P<byte>{_HEX}{{2}})")
_C = re.compile(
    rf"\\U(?P<point>{_HEX}{{8}})|\\[uU](?P<unit>{_HEX}{{4}})|\\[xX](?P<byte>{_HEX}{{2}})"
    rf"|\\[ux]\{{(?P<braced>{_HEX}{{1,6}})\}}|\\(?P<octal>[0-7]{{1,3}})|\\(?P<line>[nr])|\\[abftv]"
    r"|\\(?P<itself>.)",
    re.DOTALL,
)
_LINE_BREAK = re.compile(r"[\r\n]+[ \t]*")
_BACKSLASH = re.compile(r"\\(?P<itself>.)", re.DOTALL)

_UTF_8 = re.compile("[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{6,}")
_HEX_RUN = re.compile(rf"(?:(?:0[xX])?{_HEX}{{2}}[,:+-]*){{4,}}{_HEX}?")
_NUMBERS = re.compile(r"\d{1,3}(?:[,+]+\d{1,3}){3,}")


def _html(text: str) -> str:
    return html.unescape(_NO_CHARACTER.sub("", _ZEROS.sub("&#", text)))


def _escapes(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(_character, text)


def _character(escape: re.Match[str]) -> str:
    """What `escape` stands for; nothing for most control characters, and for what is none."""
    kind = escape.lastgroup
    if kind is None:
        return ""
    if kind in _TEXT:
        return _TEXT[kind] or escape[kind]
    value = int(escape[kind], _BASES.get(kind, 16))
    return chr(value) if value <= sys.maxunicode else ""


def _runs(pattern: re.Pattern[str], decode: Callable[[re.Match[str]], str], text: str) -> str:
    # such runs are wrapped and grouped at will
    decoded, count = pattern.subn(decode, _SPACE.sub("", text))
    return decoded if count else text


def _base64(run: re.Match[str]) -> str:
    """`run` from each of the 4 positions that its beginning may have among other letters."""
    letters = run[0].replace("-", "+").replace("_", "/")
    parts = (letters[start:] for start in range(4))
    padded = (part + "A" * (-len(part) % 4) for part in parts)
    return "|".join(_characters(binascii.a2b_base64(part)) for part in padded)


def _hexadecimal(run: re.Match[str]) -> str:
    """`run` from both positions that its beginning may have among other digits."""
    digits = re.sub(r"0[xX]|[^0-9a-fA-F]", "", run[0])
    parts = (digits, digits[1:])
    return "|".join(_characters(bytes.fromhex(part[: len(part) & ~1])) for part in parts)


def _mistaken(text: str) -> str:
    """`text`; what was UTF-8 and taken for Latin-1 is characters again."""
    return _UTF_8.sub(
        lambda sequence: sequence[0].encode("latin-1").decode("utf-8", "replace"),
        unicodedata.normalize("NFC", text),
    )


def _numbers(run: re.Match[str]) -> str:
    return "".join(chr(int(number)) for number in re.findall(r"\d+", run[0]))


def _characters(decoded: bytes) -> str:
    # in UTF-16 a NUL stands beside each character of an escape, in a wrapped text line breaks do
    return decoded.translate(None, _CONTROL).decode("latin-1")


DECODERS: tuple[Callable[[str], str], ...] = (
    _html,
    # by itself, since HTML takes the numbers of control characters for Windows-1252
    partial(_escapes, _ENTITY),
    partial(_escapes, _PERCENT),
    partial(_escapes, _C),
    partial(_escapes, _BACKSLASH),
    partial(_escapes, _LDAP),
    partial(_escapes, _QUOTED_PRINTABLE),
    partial(_LINE_BREAK.sub, ""),
    partial(_runs, _BASE64_RUN, _base64),
    partial(_runs, _HEX_RUN, _hexadecimal),
    partial(_runs, _NUMBERS, _numbers),
    _mistaken,
)
"""Each undoes one kind of escape."""
