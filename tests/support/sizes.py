"""Counts what an object of the library remembers."""

from __future__ import annotations

from collections.abc import Mapping

_OURS = ("evertoken", "cachetools")


def entries_in(owner: object) -> int:
    """The number of entries in all containers reachable from `owner`."""
    count, waiting, seen = 0, [owner], set[int]()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        inside = _inside(thing)
        count += len(inside)
        waiting += inside + _attributes(thing)
    return count


def _inside(thing: object) -> list[object]:
    if isinstance(thing, Mapping):
        return list(thing.values())
    return list(thing) if isinstance(thing, list | tuple | set | frozenset) else []


def _attributes(thing: object) -> list[object]:
    if not type(thing).__module__.startswith(_OURS):
        return []
    names = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())}
    slots = [getattr(thing, name, None) for name in names if isinstance(name, str)]
    return [*slots, *getattr(thing, "__dict__", {}).values()]
