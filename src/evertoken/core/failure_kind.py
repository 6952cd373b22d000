"""The kinds of failures. A module of its own: a process whose token is fresh meets no failure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from evertoken.errors import GrantRefused

if TYPE_CHECKING:
    from evertoken.errors import TokenError


class FailureKind(enum.Enum):
    """Whom a failure binds."""

    REFUSED = "refused"
    """The server judged the credentials: binds everyone who has the same ones."""
    UNAVAILABLE = "unavailable"
    """Something was sent and no proper answer came: binds everyone."""
    LOCAL = "local"
    """Nothing was sent, or it says nothing to others (a crash, a login that ended).

    It binds this manager alone, and is never stored.
    """

    @classmethod
    def of(cls, error: TokenError) -> FailureKind:
        """The kind of failure that `error` is; `error.local` is true if nothing was sent."""
        if error.local:
            return cls.LOCAL
        return cls.REFUSED if isinstance(error, GrantRefused) else cls.UNAVAILABLE
