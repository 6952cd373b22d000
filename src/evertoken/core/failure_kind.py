"""The kinds of failures, apart from `failure`, which a process with a fresh token never loads."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from evertoken.errors import GrantRefused

if TYPE_CHECKING:
    from evertoken.errors import TokenError


class FailureKind(enum.Enum):
    """Whom a failure keeps from sending a request."""

    REFUSED = "refused"
    """The server judged the credentials: binds all managers with the same ones."""
    UNAVAILABLE = "unavailable"
    """Something was sent, but no proper answer came: binds everyone."""
    LOCAL = "local"
    """Nothing was sent, or the failure is of no use to others (a crash, a login that ended).

    It binds only this manager, and is never stored.
    """

    @classmethod
    def of(cls, error: TokenError) -> FailureKind:
        """The kind of the failure `error`; `error.local` is true if nothing was sent."""
        if error.local:
            return cls.LOCAL
        return cls.REFUSED if isinstance(error, GrantRefused) else cls.UNAVAILABLE
