"""The views of SquadRun's API, and the sandbox's own view of its counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Final, TypeAlias

from django.apps import apps
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from oauth2_provider.views import DeviceAuthorizationView
from rest_framework.exceptions import Throttled
from rest_framework.generics import ListAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ListSerializer
from rest_framework.views import APIView

from evertoken.sandbox.environment import USERNAME
from evertoken.sandbox.models import Lead
from evertoken.sandbox.serializers import LeadReference, LeadSerializer
from evertoken.sandbox.stats import counters
from evertoken.sandbox.throttling import BusinessThrottle

if TYPE_CHECKING:
    from django.db.models import QuerySet

View: TypeAlias = Callable[[HttpRequest], HttpResponseBase]

MAX_LEADS: Final = 1000


class LeadPages(PageNumberPagination):
    """Pages with `count`, `next`, `previous` and `results`."""

    page_size: int = 100
    page_size_query_param: str = "page_size"
    max_page_size: int = MAX_LEADS


class CreateLeads(APIView):
    """Add leads to a campaign: a JSON list of at most 1000."""

    def post(self, request: Request, campaign_id: str) -> Response:
        """201 and the stored leads; if one is invalid, none is stored (400)."""
        leads = [
            Lead(campaign_id=campaign_id, lead_id=details.pop("lead_id"), details=details)
            for details in _validated(request, LeadSerializer())
        ]
        stored = Lead.objects.bulk_create(leads)
        shown = ListSerializer(stored, child=LeadSerializer())
        return Response(shown.data, HTTPStatus.CREATED)


class LeadResponses(ListAPIView[Lead]):
    """The leads of a campaign, oldest first; `lead_id` selects one."""

    serializer_class: type[LeadSerializer] = LeadSerializer
    pagination_class: type[LeadPages] = LeadPages

    def get_queryset(self) -> QuerySet[Lead]:
        """The requested leads."""
        leads = Lead.objects.filter(campaign_id=self.kwargs["campaign_id"]).order_by("id")
        lead_id = self.request.query_params.get("lead_id")
        return leads if lead_id is None else leads.filter(lead_id=lead_id)


class DisableLeads(APIView):
    """Stop calling leads: a JSON list of objects with their `lead_id`, at most 1000."""

    def post(self, request: Request, campaign_id: str) -> Response:
        """200 and the number of leads found."""
        named = [reference["lead_id"] for reference in _validated(request, LeadReference())]
        leads = Lead.objects.filter(campaign_id=campaign_id, lead_id__in=named)
        return Response({"disabled": leads.update(is_disabled=True)})


def _validated(request: Request, child: LeadReference) -> list[dict[str, object]]:
    leads: ListSerializer[list[Lead]] = ListSerializer(
        data=request.data, child=child, allow_empty=False, max_length=MAX_LEADS
    )
    leads.is_valid(raise_exception=True)
    return list(leads.validated_data)


def throttled(view: View) -> View:
    """Apply the rate limit to a view that is not DRF's: token requests count too."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponseBase:
        throttle = BusinessThrottle()
        if throttle.allow_request(Request(request), APIView()):
            return view(request)
        seconds = ceil(throttle.wait() or 0)
        return JsonResponse(
            {"detail": Throttled(seconds).detail},
            status=HTTPStatus.TOO_MANY_REQUESTS,
            headers={"Retry-After": str(seconds)},
        )

    return guarded


class _DeviceAuthorization(DeviceAuthorizationView):  # type: ignore[misc]  # it has no types
    """Begin a device login (RFC 8628 section 3.1)."""

    def create_device_authorization_response(
        self, request: HttpRequest
    ) -> tuple[dict[str, str], dict[str, object] | str, int]:
        """As the toolkit has it; version 3.4 fails over the scope that oauthlib 4 adds."""
        headers, response, status = super().create_device_authorization_response(request)
        if isinstance(response, dict):
            response.pop("scope", None)
        return headers, response, status


device_authorization: View = _DeviceAuthorization.as_view()
"""Begins a device login."""


def approve_device(request: HttpRequest) -> HttpResponse:
    """What a user does in a browser: the device with this code may act for the one account."""
    user = get_user_model().objects.get(username=USERNAME)
    devices = apps.get_model("oauth2_provider", "DeviceGrant").objects.filter(
        user_code=request.GET.get("user_code", ""), status="authorization-pending"
    )
    found = devices.update(user=user, status="authorized")
    text = "the device is connected" if found else "no device waits with this code: ?user_code=…"
    return HttpResponse(text, content_type="text/plain", status=200 if found else 404)


def stats(_request: HttpRequest) -> JsonResponse:
    """The server's counts. Needs no token and has no rate limit."""
    return JsonResponse(counters.stats(leads=Lead.objects.count()).document())
