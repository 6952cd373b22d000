"""The usual answers, as measured on SquadRun's server (Django OAuth Toolkit).

Each `…_answer` function is one endpoint: it changes the ledger and returns the answer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias
from urllib.parse import unquote_plus

from evertoken.testing.answers import Answer, Json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from evertoken.testing.ledger import Ledger, Pair
    from evertoken.testing.record import Recorded

_HTML = {"Content-Type": "text/html; charset=utf-8"}
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CREDENTIALS = frozenset(
    {"client_id", "client_secret", "username", "password", "refresh_token", "token"}
)


class Settings(Protocol):
    """The settings that the rules read at each request; `TokenServer` documents them."""

    client_id: str
    client_secret: str
    username: str
    password: str
    scope: str
    expires_in: Json
    extra: Mapping[str, Json]
    omit: Collection[str]
    denial_status: Literal[401, 403]
    basic_auth: Literal["encoded", "raw"]
    grace: float
    reuse_protection: bool
    device_interval: float
    refresh_keeps_access: bool


Rule: TypeAlias = "Callable[[Settings, Ledger, Recorded], Answer]"
"""One endpoint."""


def token_answer(settings: Settings, ledger: Ledger, request: Recorded) -> Answer:
    """The token endpoint: password, client credentials, and a refresh with rotation."""
    grant = _GRANTS.get(_field(request, "grant_type"))
    if objection := _misdirected(request):
        return objection
    if grant is None:
        return Answer.error("unsupported_grant_type")
    if objection := _repeated_field(request) or _unknown_client(settings, request):
        return objection
    return grant(settings, ledger, request)


def device_answer(settings: Settings, ledger: Ledger, request: Recorded) -> Answer:
    """The device authorization endpoint (RFC 8628 section 3.1)."""
    if objection := _misdirected(request) or _unknown_client(settings, request):
        return objection
    device_code, user_code = ledger.begin_device()
    page = "https://device.example/"
    return Answer.json(
        {
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={user_code}",
            "expires_in": 600,
            "interval": settings.device_interval,
        }
    )


def revocation_answer(settings: Settings, ledger: Ledger, request: Recorded) -> Answer:
    """The revocation endpoint (RFC 7009): empty HTML, whatever the token is."""
    if objection := _misdirected(request) or _unknown_client(settings, request):
        return objection
    token = _field(request, "token")
    if not token:
        return _missing("token")
    ledger.revoke(token)
    return Answer(200, _HTML)


def api_answer(settings: Settings, ledger: Ledger, request: Recorded) -> Answer:
    """The protected API: echoes a request that has a valid token."""
    authorization = request.headers.get("Authorization")
    scheme, _, token = (authorization or "").partition(" ")
    if scheme == "Bearer" and ledger.accepts(token):
        return Answer.json(
            {
                "method": request.method,
                "path": request.path,
                "headers": dict(request.headers),
                "body_sha256": hashlib.sha256(request.body).hexdigest(),
                "body_length": len(request.body),
            }
        )
    return _denial(settings, known_to_be_bad=authorization is not None)


def nowhere_answer(_settings: Settings, _ledger: Ledger, _request: Recorded) -> Answer:
    """Any other path."""
    return Answer(404, _HTML)


def _denial(settings: Settings, *, known_to_be_bad: bool) -> Answer:
    challenge = 'Bearer realm="api"'
    if known_to_be_bad:
        challenge += ',error="invalid_token",error_description="The access token is not valid."'
    # with session authentication first, the status is 403 and there is no challenge
    headers = {401: {"WWW-Authenticate": challenge}, 403: {}}[settings.denial_status]
    detail = {"detail": "Authentication credentials were not provided."}
    return Answer.json(detail, status=settings.denial_status, headers=headers)


def _misdirected(request: Recorded) -> Answer | None:
    if not request.path.endswith("/"):
        query = f"?{request.query}" if request.query else ""
        return Answer.redirect(f"{request.path}/{query}", status=301)
    if request.method != "POST":
        return Answer(405, {**_HTML, "Allow": "POST, OPTIONS"})
    if any(part.partition("=")[0] in _CREDENTIALS for part in request.query.split("&")):
        answer = Answer.error("invalid_request", description="No credentials in the query.")
        return Answer(answer.status, _HTML, answer.body)
    return None


def _repeated_field(request: Recorded) -> Answer | None:
    repeated = [name for name, values in request.form.items() if len(values) > 1]
    if not repeated:
        return None
    return Answer.error("invalid_request", description=f"Duplicate {repeated[0]} parameter.")


def _unknown_client(settings: Settings, request: Recorded) -> Answer | None:
    expected = (settings.client_id, settings.client_secret)
    secret = _field(request, "client_secret")
    if _field(request, "client_assertion_type") == _ASSERTION_TYPE:
        secret = _field(request, "client_assertion")
    in_body = (_field(request, "client_id"), secret)
    encoded = settings.basic_auth == "encoded"
    by_basic = _basic(request.headers.get("Authorization", ""), encoded=encoded)
    if expected in {by_basic, in_body}:
        return None
    challenge = {"WWW-Authenticate": 'Bearer error="invalid_client"'}
    return Answer.json({"error": "invalid_client"}, status=401, headers=challenge)


def _basic(authorization: str, *, encoded: bool) -> tuple[str, str] | None:
    """The id and the secret; `encoded`: each is form-encoded (RFC 6749 section 2.3.1)."""
    scheme, _, pair = authorization.partition(" ")
    try:
        decoded = base64.b64decode(pair, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    name, _, secret = decoded.partition(":")
    if scheme.lower() != "basic":
        return None
    return (unquote_plus(name), unquote_plus(secret)) if encoded else (name, secret)


def _password_grant(settings: Settings, ledger: Ledger, request: Recorded) -> Answer:
    for name in ("username", "password"):
        if not _field(request, name):
            return _missing(name)
    given = (_field(request, "username"), _field(request, "password"))
    if given != (settings.username, settings.password):
        return Answer.error("invalid_grant", description="Invalid credentials given.")
    scope, objection = _scope_wanted(settings, request)
    return objection or _granted(settings, ledger.issue(scope, _lifetime(settings.expires_in)))


def _scope_wanted(settings: Settings, request: Recorded) -> tuple[str, Answer | None]:
    wanted = request.form.get("scope", [settings.scope])[0]
    known = set(wanted.split(" ")) <= set(settings.scope.split(" "))
    return wanted, None if known else Answer.error("invalid_scope")


def _refresh_grant(settings: Settings, ledger: Ledger, request: Recorded) -> Answer:
    refresh = _field(request, "refresh_token")
    if not refresh:
        return _missing("refresh token")
    pair = ledger.rotate(
        refresh,
        _lifetime(settings.expires_in),
        grace=settings.grace,
        protected=settings.reuse_protection,
        keeps_access=settings.refresh_keeps_access,
    )
    return Answer.error("invalid_grant") if pair is None else _granted(settings, pair)


def _client_grant(settings: Settings, ledger: Ledger, request: Recorded) -> Answer:
    """Without a refresh token (RFC 6749 section 4.4.3)."""
    scope, objection = _scope_wanted(settings, request)
    if objection is not None:
        return objection
    pair = ledger.issue(scope, _lifetime(settings.expires_in))
    return _granted(settings, pair, refreshable=False)


def _device_grant(settings: Settings, ledger: Ledger, request: Recorded) -> Answer:
    if error := ledger.finish_device(_field(request, "device_code")):
        return Answer.error(error)
    return _granted(settings, ledger.issue(settings.scope, _lifetime(settings.expires_in)))


_GRANTS = {
    "urn:ietf:params:oauth:grant-type:device_code": _device_grant,
    "client_credentials": _client_grant,
    "password": _password_grant,
    "refresh_token": _refresh_grant,
}


def _granted(settings: Settings, pair: Pair, *, refreshable: bool = True) -> Answer:
    document: dict[str, Json] = {
        "access_token": pair.access,
        "token_type": "Bearer",
        "expires_in": settings.expires_in,
        **({"refresh_token": pair.refresh} if refreshable else {}),
        "scope": pair.scope,
        **settings.extra,
    }
    kept = {name: value for name, value in document.items() if name not in settings.omit}
    return Answer.json(kept, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


def _lifetime(expires_in: Json) -> float:
    """Seconds until the token really expires; infinite if `expires_in` is not a number."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, str | int | float) else math.inf
    except (ValueError, OverflowError):
        return math.inf
    return math.inf if math.isnan(seconds) else seconds


def _missing(name: str) -> Answer:
    return Answer.error("invalid_request", description=f"Request is missing {name} parameter.")


def _field(request: Recorded, name: str) -> str:
    return request.form.get(name, [""])[0]
