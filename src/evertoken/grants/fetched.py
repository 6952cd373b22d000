"""What a function of the user's own returned or raised, as a token or as a typed error."""

from __future__ import annotations

import functools
import math
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

import requests
import urllib3.exceptions

from evertoken.core.token import LONGEST_LIFETIME, Token
from evertoken.errors import GrantUnavailable, InvalidTokenResponse, TokenError, capture
from evertoken.grants import http_dates, response, sessions
from evertoken.grants.answer import Answer
from evertoken.grants.failures import links, unavailable
from evertoken.grants.masking import distinguishable
from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.core.instant import Instant

    Fetched = tuple[str, float] | Token | requests.Response

_WANTED = "(value, seconds), a Token or a requests.Response"

DEFAULT_LIFETIME = 300.0
"""Seconds that a token lives if the response that `fetch` returned does not say."""

_UNSENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    requests.exceptions.SSLError,
    requests.exceptions.ProxyError,
    socket.gaierror,
)
"""What `requests` raises before anything was sent."""


def token_from(fetch: Callable[[], Fetched]) -> Token | TokenError:
    """What came of `fetch`; an error hangs on nothing that `fetch` had at hand."""
    asked_at = clock.now()
    try:
        found = fetch()
    except requests.RequestException as error:
        if error.response is None:
            sent = not any(isinstance(link, _UNSENT) for link in links(error))
            return unavailable(error, "the server", sent=sent)
        # of raise_for_status()
        found = error.response
    except TokenError as error:
        return error.again()
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001  a user's function may raise anything
        name = type(error).__name__
        return GrantUnavailable(f"fetch raised {name}", transient=True, local=True)
    return capture(functools.partial(_token, found, asked_at))


def _token(fetched: Fetched, asked_at: Instant) -> Token:
    if isinstance(fetched, requests.Response):
        answer = _answer_of(fetched)
        granted = response.parse(answer, secrets=_posted(fetched.request))
        seconds = DEFAULT_LIFETIME if granted.lifetime is None else granted.lifetime
        value, scope, refresh = granted.value, granted.scope, granted.refresh_token
    elif isinstance(fetched, Token):
        value, scope, refresh = fetched.value, fetched.scope, fetched.refresh_token
        seconds = fetched.lifetime
    else:
        value, seconds = _pair(fetched)
        scope = refresh = None
    seconds = _checked(value, seconds)
    return Token(
        value=value,
        issued_at=asked_at.wall,
        expires_at=asked_at.wall + seconds,
        scope=scope,
        refresh_token=refresh,
        issued_boot=asked_at.boot,
    )


def _pair(fetched: object) -> tuple[str, float]:
    match fetched:
        case (str(value), bool()):
            raise InvalidTokenResponse("fetch returned a lifetime that is not a number of seconds")
        case (str(value), int() | float() as seconds):
            return value, seconds
    raise InvalidTokenResponse(f"fetch must return {_WANTED}, not {type(fetched).__name__}")


def _checked(value: str, seconds: float) -> float:
    if not response.TOKEN.fullmatch(value):
        raise InvalidTokenResponse("fetch returned a token that no header can carry")
    if not 0 <= seconds < math.inf:
        raise InvalidTokenResponse("fetch returned a lifetime that is not a number of seconds")
    return float(min(seconds, LONGEST_LIFETIME))


def _answer_of(found: requests.Response) -> Answer:
    fields = {name.lower(): value for name, value in found.headers.items()}
    moment = http_dates.answered_at(fields.get("date"))
    return Answer(
        url=found.url,
        status=found.status_code,
        headers=fields,
        body=found.content,
        retry_after=http_dates.retry_after(fields.get("retry-after"), moment),
        moment=moment,
        sent=sessions.secrets_in(found.request),
    )


def _posted(request: requests.PreparedRequest) -> list[str]:
    """Every word of the body, form-encoded or JSON: an error that quotes the server shows none."""
    body = request.body
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    if not isinstance(text, str):
        return []
    words = {*re.split(r"[&=]", text), *re.split(r'["\s,:{}\[\]]+', text)}
    return list(filter(distinguishable, {*words, *map(unquote_plus, words)}))
