"""The error that an answer without a usable token stands for (RFC 6749 section 5.2; pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from evertoken.errors import GrantRefused, GrantUnavailable, InvalidTokenResponse, TokenError
from evertoken.grants.answer import document
from evertoken.grants.masking import clean

if TYPE_CHECKING:
    from collections.abc import Collection

    from evertoken.grants.answer import Answer, Members

EndpointKind = Literal["token", "revocation"]

_PROXY_WANTS_LOGIN = 407
_TRY_LATER = frozenset({408, 425, 429})
_UNKNOWN_CLIENT = 401

_VERDICTS = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})
"""The error codes by which a server judges the credentials (RFC 6749 section 5.2).

Any other 4xx may come from something in front of the server, and passes like a 5xx.
"""

_WRONG_REQUESTS = frozenset({"invalid_request", "invalid_scope", "unsupported_grant_type"})
"""The error codes by which it says that the same request will not succeed later either."""

_CODES = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
        *("unsupported_grant_type", "invalid_scope", "access_denied", "invalid_target"),
        *("unsupported_response_type", "server_error", "temporarily_unavailable", "slow_down"),
        *("unsupported_token_type", "invalid_token", "insufficient_scope"),
        *("invalid_dpop_proof", "use_dpop_nonce", "interaction_required", "login_required"),
    }
)
"""Error codes of OAuth 2.0 and its extensions (IANA's registry)."""

_REMEDIES = {
    "invalid_client": "check the client id and the client secret",
    "unauthorized_client": "the client may not use this grant",
    "unsupported_grant_type": "the server does not offer this grant",
    "invalid_scope": "check the scope",
}
"""By the error code that the server gave."""

_NOT_THERE = frozenset({404, 405})

PAGE = "an HTML page, no OAuth answer: a firewall or proxy in between?"
"""What is said of a page in place of an answer."""

_LOGIN = re.compile(r"//[^/]*@")


def failure(
    answer: Answer,
    *,
    secrets: Collection[str] = (),
    endpoint: EndpointKind = "token",
    other_method: str = "",
    remedy: str = "",
) -> TokenError:
    """The error that an answer without a token stands for.

    Args:
        answer: of the endpoint that `endpoint` names.
        secrets: masked in whatever the error quotes of the server's words.
        endpoint: the kind of it, for the error to name.
        other_method: of client authentication, for the error to propose.
        remedy: what to do about an `invalid_grant`.
    """
    secrets = [*secrets, *answer.sent]
    error, description = _oauth_error(answer, secrets)
    answer = answer.masked(secrets)
    if 300 <= answer.status < 400:  # noqa: PLR2004  the class of redirects
        return invalid(answer, _redirected(answer, secrets, endpoint), endpoint=endpoint)
    kind, what = _judged(answer.status, error)
    if kind is InvalidTokenResponse:
        return invalid(answer, what, endpoint=endpoint)
    local = answer.status == _PROXY_WANTS_LOGIN
    told = ": ".join(part for part in (error, description) if part)
    hint = "" if local else _hint(answer, error, other_method, remedy)
    return kind(
        (what if local else f"the {endpoint} endpoint {what} (status {answer.status})")
        + (f": {told}" if told else "")
        + (f" ({hint})" if hint else ""),
        status=answer.status,
        content_type=answer.content_type,
        error=error,
        description=description,
        retry_after=answer.retry_after,
        transient=not (local or kind is GrantRefused or error in _WRONG_REQUESTS),
        local=local,
    )


def _judged(status: int, error: str | None) -> tuple[type[TokenError], str]:
    """The kind of error, and what the endpoint did."""
    if status == _PROXY_WANTS_LOGIN:
        return GrantUnavailable, "the proxy wants a login (407): put it into the proxy's URL"
    if error in _VERDICTS:
        return GrantRefused, "refused"
    if status in _TRY_LATER or 500 <= status < 600:  # noqa: PLR2004  the class of server errors
        return GrantUnavailable, "cannot answer now"
    if error or 400 <= status < 500:  # noqa: PLR2004  the class of client errors
        return GrantUnavailable, "answered with an error"
    return InvalidTokenResponse, f"unexpected status {status}"


def invalid(answer: Answer, what: str, *, endpoint: EndpointKind = "token") -> InvalidTokenResponse:
    """The error of an answer that is neither a grant nor an OAuth error; `answer` is masked."""
    kind = answer.content_type or "no content type"
    lead = "no usable token in the answer: " if endpoint == "token" else ""
    return InvalidTokenResponse(
        f"{lead}{what} (status {answer.status}, {kind})",
        status=answer.status,
        content_type=answer.content_type,
        retry_after=answer.retry_after,
        # a maintenance page passes; a redirect is a setting
        transient=answer.is_success,
    )


def tokens_in(members: Members) -> list[str]:
    """Tokens that came with an error: no user sees them, but they may work."""
    values = (members.get(name) for name in ("access_token", "refresh_token"))
    return [value for value in values if isinstance(value, str)]


def _oauth_error(answer: Answer, secrets: Collection[str]) -> tuple[str | None, str | None]:
    members = document(answer, strict=False) or {}
    error, description = members.get("error"), members.get("error_description")
    secrets = [*secrets, *tokens_in(members)]
    return (
        _code(error, secrets) if isinstance(error, str) else None,
        clean(description, secrets) if isinstance(description, str) else None,
    )


def _code(code: str, secrets: Collection[str]) -> str:
    # the words of a standard repeat nothing, and what they mean must not hang on a secret
    return code if code in _CODES else clean(code, secrets, withheld="***")


def _hint(answer: Answer, error: str | None, other_method: str, remedy: str) -> str:
    """What to do about a 4xx or a 5xx."""
    if error == "invalid_grant":
        return remedy
    parts = [_REMEDIES.get(error or "", "")]
    if answer.status in _NOT_THERE and error not in _REMEDIES:
        parts.append(f"check the URL {clean(_plain(answer.url))}")
    elif answer.status in range(400, 500) and not error and answer.is_page:
        parts.append(PAGE)
    if error == "invalid_client" or (answer.status == _UNKNOWN_CLIENT and not error):
        parts.append(other_method)
    return ", ".join(filter(None, parts))


def _redirected(answer: Answer, secrets: Collection[str], endpoint: EndpointKind) -> str:
    # no urlsplit: it raises for some of what a server may send
    path = _plain(answer.url).partition("://")[2].partition("/")[2]
    location = _plain(answer.headers.get("location", ""))
    slashless = path and location.endswith(f"/{path}/")
    url = f"the {endpoint} URL"
    hint = f"{url} seems to lack its last slash" if slashless else f"check {url}"
    to = f" to {clean(location, secrets, withheld='***')}" if location else ""
    return f"a redirect (status {answer.status}){to} is not followed with a secret: {hint}"


def _plain(url: str) -> str:
    """`url` without what may be a secret in it: login, parameters, query and fragment."""
    return _LOGIN.sub("//", re.split("[?#;]", url, maxsplit=1)[0], count=1)
