"""Helpers to compare values: errors, which compare by identity, and unpickled copies."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from evertoken.errors import TokenError

T = TypeVar("T")


def attributes_of(error: TokenError | None) -> object:
    """All attributes of an error, for comparison: exceptions compare by identity."""
    return None if error is None else (type(error), str(error), vars(error))


def pickled(value: T, protocol: int | None = None) -> T:
    """`value` after pickling and unpickling."""
    travelled: T = pickle.loads(pickle.dumps(value, protocol))  # noqa: S301  packed right here
    return travelled
