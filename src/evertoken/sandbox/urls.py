"""SquadRun's URLs, and the sandbox's own for its counts."""

from __future__ import annotations

from django.urls import URLPattern, path
from oauth2_provider.views import RevokeTokenView, TokenView

from evertoken.sandbox import views

urlpatterns: list[URLPattern] = [
    path("oauth/token/", views.throttled(TokenView.as_view())),
    path("oauth/revoke_token/", views.throttled(RevokeTokenView.as_view())),
    path("oauth/device-authorization/", views.throttled(views.device_authorization)),
    path("api/v4/leads/create/<str:campaign_id>/", views.CreateLeads.as_view()),
    path("api/v4/leads/responses/<str:campaign_id>/", views.LeadResponses.as_view()),
    path("api/v4/leads/disable/<str:campaign_id>/", views.DisableLeads.as_view()),
    path("sandbox/device/", views.approve_device),
    path("sandbox/stats/", views.stats),
]
