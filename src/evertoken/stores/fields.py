"""Reads members of a JSON object with exact types and bounds.

Anyone who can write to a store can put anything in it. A value that could crash or mislead this
process (a number that overflows, a text that breaks a log line or a header) raises ValueError.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

Json = dict[str, object]

LONGEST_SECRET = 1 << 19
"""Characters of an access or refresh token: 512 KiB."""

LONGEST_SCOPE = 1 << 16
"""Characters."""

LONGEST_HASH = 128
"""Bytes of a hash or a salt."""

LATEST = 2.0**33
"""Unix seconds, in the year 2242. A later time is not trusted."""

HIGHEST_GENERATION = 2**63 - 1
HIGHEST_COUNT = 2**32

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ASCII = re.compile(r"[\x20-\x7e]*")
_DIGEST = re.compile(r"[0-9a-f]{1,64}")


class Fields:
    """A JSON object whose members are read by exact type; anything else raises ValueError."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise ValueError("not an object")  # noqa: TRY004  one error for all garbage
        self._members: Json = value

    def without(self, name: str) -> Json:
        """All members except `name`."""
        return {key: value for key, value in self._members.items() if key != name}

    def has(self, name: str) -> bool:
        """Whether there is such a member."""
        return name in self._members

    def maybe(self, read: Callable[[str], T], name: str) -> T | None:
        """The member as read by `read`; None if it is null."""
        return None if self._member(name) is None else read(name)

    def part(self, name: str) -> Fields:
        """An object."""
        return Fields(self._member(name))

    def parts(self, name: str, *, most: int) -> list[Fields]:
        """A list of at most `most` objects."""
        value = self._member(name)
        if isinstance(value, list) and len(value) <= most:
            return [Fields(each) for each in value]
        raise ValueError(name)

    def text(self, name: str) -> str:
        """Any text. Only for comparison: it is not safe to show."""
        if isinstance(value := self._member(name), str):
            return value
        raise ValueError(name)

    def access_token(self, name: str) -> str:
        """Characters that a header can carry (RFC 6750 section 2.1)."""
        return self._matching(name, _VISIBLE, LONGEST_SECRET)

    def refresh_token(self, name: str) -> str:
        """Printable ASCII (RFC 6749 appendix A.17)."""
        return self._matching(name, _ASCII, LONGEST_SECRET)

    def scope(self, name: str) -> str:
        """Printable ASCII."""
        return self._matching(name, _ASCII, LONGEST_SCOPE)

    def digest(self, name: str) -> str:
        """Hexadecimal digits."""
        return self._matching(name, _DIGEST, LONGEST_HASH)

    def words(self, name: str, *, most: int) -> str:
        """Text for people to read: at most `most` characters, control characters escaped."""
        if len(value := self.text(name)) <= most:
            return printable(value, most=most)
        raise ValueError(name)

    def integer(self, name: str) -> int:
        """Any integer."""
        if type(value := self._member(name)) is int:
            return value
        raise ValueError(name)

    def whole(self, name: str, low: int, high: int) -> int:
        """An integer within bounds, both included."""
        if low <= (value := self.integer(name)) <= high:
            return value
        raise ValueError(name)

    def number(self, name: str, low: float, high: float) -> float:
        """A number within bounds, both included."""
        value = self._member(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(name)  # noqa: TRY004  one error for all garbage
        # compared before the conversion: an integer may be too large for a float
        if low <= value <= high:
            return float(value)
        raise ValueError(name)

    def time(self, name: str) -> float:
        """Unix seconds."""
        return self.number(name, 0.0, LATEST)

    def reading(self, name: str) -> float:
        """Seconds since boot; negative for a time before boot."""
        return self.number(name, -LATEST, LATEST)

    def generation(self, name: str, low: int = 0) -> int:
        """A generation."""
        return self.whole(name, low, HIGHEST_GENERATION)

    def flag(self, name: str) -> bool:
        """True or false."""
        if isinstance(value := self._member(name), bool):
            return value
        raise ValueError(name)

    def hash(self, name: str) -> bytes:
        """A hash or a salt, in hexadecimal digits."""
        if len(value := self.text(name)) <= 2 * LONGEST_HASH:
            return binascii.unhexlify(value)
        raise ValueError(name)

    def _matching(self, name: str, pattern: re.Pattern[str], most: int) -> str:
        if len(value := self.text(name)) <= most and pattern.fullmatch(value):
            return value
        raise ValueError(name)

    def _member(self, name: str) -> object:
        if name in self._members:
            return self._members[name]
        raise ValueError(name)


def printable(text: str, *, most: int) -> str:
    """`text` made safe for a log: control characters escaped, cut to `most` characters."""
    cut = text[:most]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return shown[:most]
