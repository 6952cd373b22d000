"""A token endpoint's answer, parsed strictly: what was granted, or the error that says why not.

Pure: it sees a status, headers and bytes, and raises nothing but this library's errors.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from evertoken.core.token import LONGEST_LIFETIME
from evertoken.errors import GrantRefused, GrantUnavailable, InvalidTokenResponse, TokenError
from evertoken.grants.masking import clean, repeats

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

EndpointKind = Literal["token", "revocation"]

_OK = 200
_PROXY_WANTS_LOGIN = 407
_TRY_LATER = frozenset({408, 425, 429})

_VERDICTS = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})
"""The error codes by which a server judges the credentials (RFC 6749 section 5.2).

Any other 4xx may come from something in front of the server, and passes like a 5xx.
"""

_WRONG_REQUESTS = frozenset({"invalid_request", "invalid_scope", "unsupported_grant_type"})
"""The error codes by which it says that the same request will not succeed later either."""

# RFC 6750 section 2.1 allows less than RFC 6749 appendix A.12 does: a space would end the token
_TOKEN = re.compile(r"[\x21-\x7e]+")
_REFRESH_TOKEN = re.compile(r"[\x20-\x7e]*")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*|")
_NUMBER = re.compile(r"[0-9]{1,300}(?:\.[0-9]{1,300})?")

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

_REMEDIES: dict[str | int | None, str] = {
    404: "check the URL",
    405: "check the URL",
    "invalid_grant": "check the user name and the password",
    "invalid_client": "check the client id and the client secret",
    "unauthorized_client": "the client may not use this grant",
    "unsupported_grant_type": "the server does not offer this grant",
    "invalid_scope": "check the scope",
}
"""By the error code that the server gave, else by the status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the token endpoint.

    Attributes:
        url: what was asked.
        headers: by name in lower case.
        body: decoded; not shown by `repr`, since it may hold a token.
        retry_after: the header of that name, in seconds from now.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    retry_after: float | None = None

    @property
    def content_type(self) -> str | None:
        """The media type without its parameters."""
        value = self.headers.get("content-type")
        return None if value is None else clean(value.partition(";")[0].strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What was granted (RFC 6749 section 5.1).

    Attributes:
        lifetime: in seconds; None where the server did not say.
        typed: whether the server named the token's type.
    """

    value: str = field(repr=False)
    lifetime: float | None
    scope: str | None
    refresh_token: str | None = field(repr=False)
    typed: bool


def parse(answer: Answer, *, secrets: Collection[str] = ()) -> Granted:
    """What `answer` grants.

    Args:
        answer: of the token endpoint.
        secrets: masked in whatever an error quotes of the server's words.

    Raises:
        GrantRefused: a verdict on the credentials, under any status.
        GrantUnavailable: any other OAuth error, 4xx or 5xx.
        InvalidTokenResponse: a 200 without a usable token or an error, or any other status.
    """
    if answer.status != _OK:
        raise failure(answer, secrets=secrets)
    answer = _masked(answer, secrets)
    members = _members(answer)
    if isinstance(members.get("error"), str):
        raise failure(answer, secrets=secrets)
    if "error" in members:
        raise _invalid(answer, "the member error is not text")
    return Granted(
        value=_access_token(answer, members),
        lifetime=_lifetime(answer, members.get("expires_in")),
        scope=_scope(answer, members, secrets),
        refresh_token=_optional(answer, members, "refresh_token", _REFRESH_TOKEN) or None,
        typed=_typed(answer, members),
    )


def failure(
    answer: Answer, *, secrets: Collection[str] = (), endpoint: EndpointKind = "token"
) -> TokenError:
    """The error that an answer without a token stands for (RFC 6749 section 5.2).

    Args:
        answer: of the endpoint that `endpoint` names.
        secrets: masked in whatever the error quotes of the server's words.
        endpoint: the kind of it, for the error to name.
    """
    status, answer = answer.status, _masked(answer, secrets)
    local = status == _PROXY_WANTS_LOGIN
    error, description = _oauth_error(answer.body, secrets)
    if 300 <= status < 400:  # noqa: PLR2004  the class of redirects
        return _invalid(answer, _redirected(answer, endpoint), endpoint=endpoint)
    kind: type[TokenError] = GrantUnavailable
    if local:
        message = "the proxy wants a login (407): put it into the proxy's URL"
    elif error in _VERDICTS:
        kind = GrantRefused
        message = f"the {endpoint} endpoint refused (status {status})"
    elif status in _TRY_LATER or 500 <= status < 600:  # noqa: PLR2004  the class of server errors
        message = f"the {endpoint} endpoint cannot answer now (status {status})"
    elif error or 400 <= status < 500:  # noqa: PLR2004  the class of client errors
        message = f"the {endpoint} endpoint answered with an error (status {status})"
    else:
        return _invalid(answer, f"unexpected status {status}", endpoint=endpoint)
    told = ": ".join(part for part in (error, description) if part)
    remedy = _REMEDIES.get(error, _REMEDIES.get(status))
    return kind(
        message + (f": {told}" if told else "") + (f" ({remedy})" if remedy else ""),
        status=status,
        content_type=answer.content_type,
        error=error,
        description=description,
        retry_after=answer.retry_after,
        transient=not (local or kind is GrantRefused or error in _WRONG_REQUESTS),
        local=local,
    )


def _masked(answer: Answer, secrets: Collection[str]) -> Answer:
    """`answer`; what an error names of its headers shows no secret."""
    kind = answer.headers.get("content-type")
    if kind is None:
        return answer
    shown = clean(kind, secrets, withheld="***")
    return replace(answer, headers={**answer.headers, "content-type": shown})


def _members(answer: Answer) -> dict[str, object]:
    try:
        # a str: json.loads guesses the encoding of bytes, and lets a byte order mark pass
        members = json.loads(
            answer.body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        members = None
    if isinstance(members, dict):
        return members
    what = "the body is empty" if not answer.body else "the body is no JSON object"
    raise _invalid(answer, what)


def _oauth_error(body: bytes, secrets: Collection[str]) -> tuple[str | None, str | None]:
    try:
        members = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(members, dict):
        return None, None
    error, description = members.get("error"), members.get("error_description")
    secrets = [*secrets, *_tokens(members)]
    return (
        _code(members, secrets) if isinstance(error, str) else None,
        clean(description, secrets) if isinstance(description, str) else None,
    )


def _access_token(answer: Answer, members: dict[str, object]) -> str:
    value = members.get("access_token")
    if not isinstance(value, str) or not value:
        raise _invalid(answer, "access_token is missing, empty or no text")
    if not _TOKEN.fullmatch(value):
        raise _invalid(answer, "access_token has characters that no header may carry")
    return value


def _typed(answer: Answer, members: dict[str, object]) -> bool:
    if "token_type" not in members:
        return False
    kind = members["token_type"]
    if isinstance(kind, str) and kind.lower() == "bearer":
        return True
    raise _invalid(answer, "token_type is not Bearer")


def _lifetime(answer: Answer, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise _invalid(answer, "expires_in is no number of seconds")
    return float(min(value, LONGEST_LIFETIME))


def _scope(answer: Answer, members: dict[str, object], secrets: Collection[str]) -> str | None:
    """The granted scope; None if it may repeat a secret: it is stored and shown."""
    scope = _optional(answer, members, "scope", SCOPE)
    return None if scope is None or repeats(scope, secrets) else scope


def _optional(
    answer: Answer, members: dict[str, object], name: str, allowed: re.Pattern[str]
) -> str | None:
    value = members.get(name)
    if value is None or (isinstance(value, str) and allowed.fullmatch(value)):
        return value
    raise _invalid(answer, f"{name} is no text, or has characters that it must not have")


def _redirected(answer: Answer, endpoint: EndpointKind) -> str:
    # no urlsplit: it raises for some of what a server may send
    path = answer.url.partition("://")[2].partition("?")[0].partition("/")[2]
    location = answer.headers.get("location", "").partition("?")[0]
    slashless = path and location.endswith(f"/{path}/")
    url = f"the {endpoint} URL"
    hint = f"{url} seems to lack its last slash" if slashless else f"check {url}"
    return f"a redirect (status {answer.status}) is not followed with a secret: {hint}"


def _invalid(
    answer: Answer, what: str, *, error: str | None = None, endpoint: EndpointKind = "token"
) -> InvalidTokenResponse:
    kind = answer.content_type or "no content type"
    lead = "no usable token in the answer: " if endpoint == "token" else ""
    return InvalidTokenResponse(
        f"{lead}{what} (status {answer.status}, {kind})",
        status=answer.status,
        content_type=answer.content_type,
        error=error,
        retry_after=answer.retry_after,
        # a maintenance page passes; a redirect is a setting
        transient=answer.status == _OK,
    )


def _code(members: dict[str, object], secrets: Collection[str]) -> str:
    """The OAuth error code; of one that is not text, its type."""
    code = members["error"]
    if not isinstance(code, str):
        return type(code).__name__
    # the words of a standard repeat nothing, and what they mean must not hang on a secret
    return code if code in _CODES else clean(code, secrets, withheld="***")


def _tokens(members: dict[str, object]) -> list[str]:
    """Tokens that came with an error: no user sees them, but they may work."""
    values = (members.get(name) for name in ("access_token", "refresh_token"))
    return [value for value in values if isinstance(value, str)]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _refuse(constant: str) -> object:
    raise ValueError(constant)
