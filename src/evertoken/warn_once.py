"""A warning that is logged once per cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from evertoken import lru
    from evertoken.runtime import reports
else:
    # most processes log no warning
    lru, reports = lazy("evertoken.lru"), lazy("evertoken.runtime.reports")


class WarnOnce:
    """Logs a warning, unless its cause is among the last 1,024 causes."""

    __slots__ = ("_causes",)

    def __init__(self) -> None:
        self._causes: lru.Once | None = None

    def __call__(self, cause: str, message: str) -> None:
        """Log `message`, if `cause` is new."""
        if self._causes is None:
            self._causes = lru.Once()
        if self._causes.first(cause):
            reports.warning("%s", message)
