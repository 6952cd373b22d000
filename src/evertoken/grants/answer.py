"""What an endpoint answered: a status, headers, bytes, and the JSON object in them (pure)."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evertoken.core import strict_json
from evertoken.grants.masking import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Members = dict[str, object]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and what they say of the bytes that follow."""

_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([-.:\w]{1,40})""", re.IGNORECASE | re.ASCII)
_KNOWN_CHARSET = re.compile(
    r"us-ascii|ascii|utf-?8|utf-?(?:16|32)(?:[-_]?[lb]e)?|(?:iso[-_]?)?8859[-_]\d{1,2}"
    r"|latin-?1|(?:windows|cp)-?\d{3,5}|koi8-[rtu]|gb2312|gbk|gb18030|big5|euc[-_](?:jp|kr)|shift[-_]jis"
)
"""Character sets: some of Python's other codecs take a second for each megabyte."""

_PAGE = re.compile(rb"\s*<(?:!doctype|html|head|body)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the token endpoint.

    Attributes:
        url: what was asked.
        headers: by name in lower case.
        body: decoded; not shown by `repr`, since it may hold a token.
        retry_after: the header of that name, in seconds from now.
        moment: when it was made, in Unix seconds: by its `Date`, else by this machine's clock.
            None: unknown.
        sent: values of the request's headers, which no error may repeat.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    retry_after: float | None = None
    moment: float | None = None
    sent: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx (RFC 9110 section 15.3)."""
        return 200 <= self.status < 300  # noqa: PLR2004  the class of successes

    @property
    def content_type(self) -> str | None:
        """The media type without its parameters."""
        value = self.headers.get("content-type")
        return None if value is None else clean(value.partition(";")[0].strip())

    @property
    def is_page(self) -> bool:
        """Whether it is an HTML page: some servers label JSON so, too."""
        if (self.content_type or "").lower() == "text/html":
            return self.body.lstrip()[:1] not in {b"", b"{", b"["}
        return bool(_PAGE.match(self.body))

    def masked(self, secrets: Collection[str]) -> Answer:
        """This answer; what an error names of its headers shows no secret."""
        kind = self.headers.get("content-type")
        if kind is None:
            return self
        shown = clean(kind, secrets, withheld="***")
        return replace(self, headers={**self.headers, "content-type": shown})


def document(answer: Answer, *, strict: bool = True) -> Members | None:
    """The JSON object in `answer` (RFC 8259); None if there is none.

    Args:
        answer: of any status.
        strict: no member twice, and no NaN: two readers might make different things of it.
    """
    load: Callable[[str], object] = strict_json.loads if strict else json.loads
    for encoding in _encodings(answer):
        try:
            # a str: json.loads guesses the encoding of bytes
            found = load(answer.body.decode(encoding))
        except (ValueError, LookupError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _encodings(answer: Answer) -> tuple[str, ...]:
    """By its byte order mark, else as it declares, else UTF-8 (RFC 8259 section 8.1)."""
    for mark, encoding in _MARKS:
        if answer.body.startswith(mark):
            return (encoding,)
    declared = _CHARSET.search(answer.headers.get("content-type", ""))
    if declared and _KNOWN_CHARSET.fullmatch(name := declared[1].lower()):
        # some declare what they do not send
        return (name, "utf-8")
    return ("utf-8",)
