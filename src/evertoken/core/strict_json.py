"""Strict JSON: repeated members and `NaN` are errors, so no two readers see different values."""

from __future__ import annotations

import json


def loads(text: str | bytes) -> object:
    """The value of the JSON document `text`.

    Raises:
        ValueError: it is not JSON, repeats a member, or has a number that JSON does not allow.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _refuse(constant: str) -> object:
    raise ValueError(constant)
