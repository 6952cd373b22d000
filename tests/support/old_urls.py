"""The URLs of the old server: the toolkit's own, and one protected resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.urls import include, path
from oauth2_provider.oauth2_backends import get_oauthlib_core

if TYPE_CHECKING:
    from django.http import HttpRequest


def leads(request: HttpRequest) -> HttpResponse:
    good, _ = get_oauthlib_core().verify_request(request, scopes=["read"])
    if good:
        return HttpResponse("[]", content_type="application/json")
    return HttpResponse(status=401, headers={"WWW-Authenticate": 'Bearer realm="api"'})


urlpatterns = [
    path("oauth/", include("oauth2_provider.urls")),
    path("api/v4/leads/", leads),
]
