"""What a value says: of errors, which compare by identity, and at the other end of a pickle."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from evertoken.errors import TokenError

T = TypeVar("T")


def told(error: TokenError | None) -> object:
    """All that an error says, to compare by: exceptions themselves compare by identity."""
    return None if error is None else (type(error), str(error), vars(error))


def pickled(value: T, protocol: int | None = None) -> T:
    """`value`, as it comes out at the other end."""
    travelled: T = pickle.loads(pickle.dumps(value, protocol))  # noqa: S301  packed right here
    return travelled
