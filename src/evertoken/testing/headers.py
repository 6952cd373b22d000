"""Header fields: case-insensitive, repeatable, and without values in `repr`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class Headers(Mapping[str, str]):
    """The header fields of one message, in the order of transmission.

    Names are case-insensitive. A repeated field reads as its values joined by `, ` (RFC 9110
    section 5.3); `get_all` returns them separately.
    """

    __slots__ = ("pairs",)

    def __init__(self, given: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self.pairs: tuple[tuple[str, str], ...] = _pairs(given)

    def get_all(self, name: str) -> list[str]:
        """All values of the field, in order; empty if there are none."""
        wanted = name.lower()
        return [value for key, value in self.pairs if key.lower() == wanted]

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter({key.lower(): key for key, _ in self.pairs}.values())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Headers({', '.join(self)})"


def _pairs(given: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    if isinstance(given, Headers):
        return given.pairs
    if isinstance(given, Mapping):
        return tuple(given.items())
    return tuple(given)
