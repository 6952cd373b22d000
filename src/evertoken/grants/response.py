"""What a token endpoint's answer grants (RFC 6749 section 5.1; pure).

Strict where that protects: what is sent in a header later, and what two readers might understand
differently. Whatever else a server makes of the rest, a usable token is never refused for it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evertoken.core.token import LONGEST_LIFETIME
from evertoken.grants.answer import document
from evertoken.grants.error_answer import PAGE, failure, invalid, tokens_in
from evertoken.grants.masking import clean, repeats

if TYPE_CHECKING:
    from collections.abc import Collection

    from evertoken.errors import InvalidTokenResponse
    from evertoken.grants.answer import Answer, Members

# RFC 6750 section 2.1 allows less than RFC 6749 appendix A.12 does: a space would end the token
TOKEN = re.compile(r"[\x21-\x7e]+")
_REFRESH_TOKEN = re.compile(r"[\x20-\x7e]+")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*|")
_NUMBER = re.compile(r"[0-9]{1,300}(?:\.[0-9]{1,300})?")

LONGEST_SCOPE = 1 << 16
"""Characters of a scope, as many as stores keep: a longer one is dropped."""

_BEARER = frozenset({"bearer", "bearertoken"})

_QUOTED = 40
"""Characters of a `token_type` that an error quotes."""

DAY = 24 * 3600.0
TEN_YEARS = 3652 * DAY

NO_TYPE = "the answer names no token_type: it is taken for Bearer"
ODD_TYPE = "the answer spells token_type otherwise: it is taken for Bearer"
POINT_IN_TIME = "expires_in is a point in time (Unix seconds): it is taken as that"
NO_TIME = (
    "expires_in is 0, so that the token counts as expired: set lifetime= if the server means never"
)
NO_REFRESH_TOKEN = "the answer's refresh_token cannot be sent: it is left out"  # noqa: S105  words


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What was granted.

    Attributes:
        lifetime: in seconds; None where the server did not say.
        refresh_lifetime: of the refresh token, likewise.
        notes: what in the answer was not as it should be, to be said once.
    """

    value: str = field(repr=False)
    lifetime: float | None
    scope: str | None
    refresh_token: str | None = field(repr=False)
    refresh_lifetime: float | None = None
    notes: tuple[str, ...] = ()


def parse(
    answer: Answer,
    *,
    secrets: Collection[str] = (),
    timed: bool = True,
    other_method: str = "",
    remedy: str = "",
) -> Granted:
    """What `answer` grants.

    Args:
        answer: of the token endpoint.
        secrets: masked in whatever an error quotes of the server's words.
        timed: whether `expires_in` counts; False: another lifetime was set.
        other_method: of client authentication, for an error to propose.
        remedy: what to do about an `invalid_grant`, for its error to propose.

    Raises:
        GrantRefused: a verdict on the credentials, under any status.
        GrantUnavailable: any other OAuth error, 4xx or 5xx.
        InvalidTokenResponse: a success without a usable token or an error, or any other status.
    """
    secrets = [*secrets, *answer.sent]
    members = document(answer) if answer.is_success else None
    # some send null, or nothing, along with a token
    error = members.get("error") if members else None
    if not answer.is_success or (error and isinstance(error, str)):
        raise failure(answer, secrets=secrets, other_method=other_method, remedy=remedy)
    answer = answer.masked(secrets)
    if members is None:
        raise invalid(answer, _no_document(answer))
    if error:
        raise invalid(answer, "the member error is not text")
    value = _access_token(answer, members)
    refresh_token, no_token = _refresh_token(members)
    lifetime, no_time = _lifetime(answer, members) if timed else (None, "")
    odd_type = _type_note(answer, members, [*secrets, *tokens_in(members)])
    return Granted(
        value=value,
        lifetime=lifetime,
        scope=_scope(members.get("scope"), secrets),
        refresh_token=refresh_token,
        refresh_lifetime=_refresh_lifetime(members),
        notes=tuple(filter(None, (odd_type, no_time, no_token))),
    )


def _no_document(answer: Answer) -> str:
    if not answer.body.strip():
        return "the body is empty"
    return PAGE if answer.is_page else "the body is not a JSON object"


def _access_token(answer: Answer, members: Members) -> str:
    value = members.get("access_token")
    if not isinstance(value, str) or not value:
        raise invalid(answer, "access_token is missing, empty or not text")
    if not TOKEN.fullmatch(value):
        raise invalid(answer, "access_token has characters that no header may carry")
    return value


def _type_note(answer: Answer, members: Members, secrets: Collection[str]) -> str:
    """What to say of a `token_type` that means Bearer (RFC 6749 section 7.1)."""
    kind = members.get("token_type")
    if kind is None:
        return NO_TYPE
    if isinstance(kind, str) and kind.strip().lower() in _BEARER:
        return "" if kind.lower() == "bearer" else ODD_TYPE
    raise _unknown_type(answer, kind, secrets)


def _unknown_type(answer: Answer, kind: object, secrets: Collection[str]) -> InvalidTokenResponse:
    shown = clean(kind if isinstance(kind, str) else _written(kind), secrets, withheld="***")
    shown = shown[:_QUOTED]
    return invalid(answer, f'token_type is "{shown}", not Bearer')


def _written(value: object) -> str:
    try:
        return json.dumps(value)
    except RecursionError:
        return type(value).__name__


def _lifetime(answer: Answer, members: Members) -> tuple[float | None, str]:
    """Seconds that the token lives, and what to say of them."""
    value = members.get("expires_in")
    if value is None:
        return None, ""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise invalid(answer, "expires_in is not a number of seconds (lifetime= overrides it)")
    if answer.moment is not None and _is_moment(value, answer.moment):
        return min(max(0.0, value - answer.moment), LONGEST_LIFETIME), POINT_IN_TIME
    return float(min(value, LONGEST_LIFETIME)), "" if value else NO_TIME


def _is_moment(value: float, now: float) -> bool:
    """Whether `expires_in` can only be an absolute time.

    As a duration it is longer than any token lives; as a time it is near. Of the past only a day
    counts, for clocks that differ: a duration of 50 years is a time of a few years ago.
    """
    return value > LONGEST_LIFETIME and -DAY <= value - now <= TEN_YEARS


def _scope(value: object, secrets: Collection[str]) -> str | None:
    """The granted scope, its words one space apart; None if it cannot be shown.

    It may repeat a secret, and is stored and shown.
    """
    given = value if isinstance(value, list) else [value]
    words = [word for word in given if isinstance(word, str)]
    if len(words) < len(given):
        return None
    scope = " ".join(" ".join(words).split())
    usable = len(scope) <= LONGEST_SCOPE and SCOPE.fullmatch(scope)
    return scope if usable and not repeats(scope, secrets) else None


def _refresh_lifetime(members: Members) -> float | None:
    """Seconds that the refresh token lives, by the names that servers give them.

    No standard has one: GitHub and Microsoft call it so, and Keycloak by the second name, where 0
    stands for no end. It is only told, so a value that makes no sense is left out.
    """
    for name in ("refresh_token_expires_in", "refresh_expires_in"):
        value = members.get(name)
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < TEN_YEARS:
            return float(value)
    return None


def _refresh_token(members: Members) -> tuple[str | None, str]:
    """The refresh token, and what to say of one that no form may carry."""
    value = members.get("refresh_token")
    if isinstance(value, str) and _REFRESH_TOKEN.fullmatch(value):
        return value, ""
    return None, NO_REFRESH_TOKEN if value else ""
