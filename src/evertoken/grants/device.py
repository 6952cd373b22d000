"""The device authorization grant (RFC 8628): a user logs in on another device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evertoken.errors import GrantUnavailable, InvalidTokenResponse, TokenError, capture
from evertoken.grants.answer import document
from evertoken.grants.endpoint import Endpoint
from evertoken.grants.error_answer import failure
from evertoken.grants.response import parse
from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.grants.answer import Answer, Members
    from evertoken.grants.client_auth import Client
    from evertoken.grants.response import Granted

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"

INTERVAL = 5.0
"""Seconds between two polls if the server names none (section 3.2)."""

SLOWER = 5.0
"""Seconds by which a `slow_down` lengthens the interval (section 3.5)."""

LONGEST = 3600.0
"""Seconds that a login is waited for, whatever the server says."""

_REACH = Endpoint(timeout=10.0, deadline=30.0)


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """A login that waits for the user.

    Attributes:
        user_code: what the user types at `page`.
        page: a URL.
        page_with_code: the same with the code in it, if the server gave one.
        expires_in: seconds that the user has.
        interval: seconds between two polls.
        device_code: what is polled with; a secret.
    """

    user_code: str
    page: str
    page_with_code: str | None
    expires_in: float
    interval: float
    device_code: str = field(repr=False)


def begin(url: str, client: Client, scope: str | None = None) -> DeviceLogin:
    """Ask the device authorization endpoint `url` for a code.

    Raises:
        GrantRefused, GrantUnavailable, InvalidTokenResponse: without a secret.
    """
    # the endpoint needs the id even where HTTP Basic has it (section 3.1)
    form = dict([("client_id", client.identity or ""), *client.form])
    if scope:
        form["scope"] = scope
    answer = _REACH.post(url, list(form.items()), headers=client.headers)
    members = document(answer) if answer.is_success else None
    if members is None:
        raise failure(answer, secrets=client.secrets, other_method=client.other_method)
    return _read(answer, members)


def wait(
    token_url: str, client: Client, login: DeviceLogin, *, sleep: Callable[[float], None]
) -> Granted:
    """Poll `token_url` until the user has decided.

    Args:
        token_url: the token endpoint.
        client: as in `begin`.
        login: what `begin` returned.
        sleep: waits for so many seconds.

    Raises:
        GrantRefused, GrantUnavailable, InvalidTokenResponse: the user declined or took too long,
            or the server has another objection.
    """
    end, interval = clock.since_boot() + login.expires_in, login.interval
    while True:
        sleep(interval)
        outcome = capture(lambda: _poll(token_url, client, login))
        if not isinstance(outcome, TokenError):
            return outcome
        if outcome.error == "slow_down":
            interval += SLOWER
        elif outcome.error != "authorization_pending" and not _lost(outcome):
            raise outcome
        if clock.since_boot() >= end:
            raise GrantUnavailable(
                "nobody entered the code in time: log in again", error="expired_token"
            )


def _lost(error: TokenError) -> bool:
    """Whether there was no answer: a poll is repeated (section 3.5)."""
    return error.status is None and error.transient


def _poll(token_url: str, client: Client, login: DeviceLogin) -> Granted:
    form = [("grant_type", GRANT_TYPE), ("device_code", login.device_code), *client.form]
    answer = _REACH.post(token_url, form, headers=client.headers)
    return parse(answer, secrets=[login.device_code, *client.secrets])


def _read(answer: Answer, members: Members) -> DeviceLogin:
    texts = [members.get(name) for name in ("device_code", "user_code", "verification_uri")]
    device_code, user_code, page = (
        it if isinstance(it, str) and it.isprintable() else "" for it in texts
    )
    if not (device_code and user_code and page):
        raise InvalidTokenResponse(
            "the answer of the device authorization endpoint lacks a code or a URL",
            status=answer.status,
            content_type=answer.content_type,
        )
    complete = members.get("verification_uri_complete")
    return DeviceLogin(
        user_code=user_code,
        page=page,
        page_with_code=complete if isinstance(complete, str) and complete.isprintable() else None,
        expires_in=_seconds(members.get("expires_in"), LONGEST),
        interval=_seconds(members.get("interval"), INTERVAL),
        device_code=device_code,
    )


def _seconds(value: object, default: float) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST
    return float(value) if usable else default  # type: ignore[arg-type]  # a number, as was seen
