"""Counts each response."""

from __future__ import annotations

import json
import logging
import time
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.apps import apps
from django.utils import timezone

from evertoken.sandbox.stats import counters

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

log: logging.Logger = logging.getLogger("evertoken.sandbox")


def count_calls(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """A Django middleware around the whole site."""

    def counted(request: HttpRequest) -> HttpResponse:
        start = time.perf_counter()
        response = get_response(request)
        _count(request, response, seconds=time.perf_counter() - start)
        # without the query, where a wrong client may put its credentials
        log.info("%s %s %d", request.method, request.path, response.status_code)
        return response

    return counted


def _count(request: HttpRequest, response: HttpResponse, *, seconds: float) -> None:
    succeeded = response.status_code == HTTPStatus.OK
    if request.method == "OPTIONS":
        return
    if request.path == "/oauth/token/":
        if succeeded:
            counters.granted(request.POST["grant_type"], seconds=seconds)
        else:
            counters.refused(_error_code(response))
    elif request.path == "/oauth/revoke_token/" and succeeded:
        counters.revoked()
    elif request.path.startswith("/api/"):
        counters.called(response.status_code, expired=_refused_as_expired(request, response))


def _error_code(response: HttpResponse) -> str:
    try:
        return str(json.loads(response.content)["error"])
    except (ValueError, KeyError):
        return str(response.status_code)


def _refused_as_expired(request: HttpRequest, response: HttpResponse) -> bool:
    if response.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return False
    _, _, token = request.headers.get("Authorization", "").partition(" ")
    tokens = apps.get_model("oauth2_provider", "AccessToken").objects.filter(
        token_checksum=sha256(token.encode()).hexdigest(), expires__lte=timezone.now()
    )
    return bool(tokens.exists())
