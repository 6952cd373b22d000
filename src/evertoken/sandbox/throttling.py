"""SquadRun's rate limit: a number of calls per minute for a whole business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.throttling import SimpleRateThrottle

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class BusinessThrottle(SimpleRateThrottle):
    """One limit for all callers: the sandbox has one business."""

    scope: str = "business"

    def get_cache_key(self, request: Request, view: APIView) -> str:  # noqa: ARG002 - DRF's hook
        """The same key for all callers."""
        return self.scope
