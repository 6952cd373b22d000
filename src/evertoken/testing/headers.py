"""Header fields: read in any case, repeated ones kept, values never shown by `repr`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class Headers(Mapping[str, str]):
    """Header fields of one message, in their order on the wire.

    Reading ignores case. A field that came more than once reads as its values joined by `, `
    (RFC 9110 section 5.3); `get_all` tells them apart.
    """

    __slots__ = ("pairs",)

    def __init__(self, given: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = _pairs(given)

    def get_all(self, name: str) -> list[str]:
        """Each value of the field, in order; empty where there is none."""
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
