"""Revocation (RFC 7009): the refresh token where there is one, then the access token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.errors import RevocationFailed, TokenError, rebuild
from evertoken.grants.error_answer import failure
from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evertoken.core.token import Token
    from evertoken.grants.answer import Answer
    from evertoken.grants.client_auth import Client
    from evertoken.grants.endpoint import Endpoint

_UNKNOWN_TOKEN = (400, "invalid_token")
"""How some servers speak of a token that is dead already; the RFC has 200 for it (section 2.2)."""

_LEAST_DEADLINE = 1.0
"""Seconds that a second revocation gets at least, however long the first one took."""


def revoke(
    endpoint: Endpoint,
    url: str,
    token: Token,
    *,
    client: Callable[[], Client],
    headers: Callable[[], Iterable[tuple[str, str]]],
) -> None:
    """Revoke all that belongs to `token`, within the deadline of `endpoint`.

    The second is tried even if the first failed. Any 2xx is success whatever the body says
    (section 2.2), and so is a 400 `invalid_token`.

    Args:
        endpoint: how the server is reached.
        url: the revocation endpoint.
        token: with its refresh token, where it has one.
        client: asked for the client's credentials at each request.
        headers: asked for further header fields at each request.

    Raises:
        RevocationFailed: the server did not confirm one of them.
    """
    end = clock.since_boot() + endpoint.deadline
    # of a login whose access token is gone, the refresh token is left
    hints = [("access_token", token.value)] if token.value else []
    if token.refresh_token:
        hints.insert(0, ("refresh_token", token.refresh_token))
    secrets = [value for _, value in hints]

    def failure_of(hint: str, value: str) -> TokenError | None:
        form = [("token", value), ("token_type_hint", hint)]
        try:
            sender = client()
            answer = endpoint.post(
                url,
                [*form, *sender.form],
                headers=[*headers(), *sender.headers],
                deadline=max(_LEAST_DEADLINE, end - clock.since_boot()),
                expects_body=False,
            )
        except TokenError as error:
            return error
        return _judged(answer, [*secrets, *sender.secrets], sender.other_method)

    errors = [failure_of(hint, value) for hint, value in hints]
    if (error := next(filter(None, errors), None)) is not None:
        raise _unrevoked(error)


def _judged(answer: Answer, secrets: list[str], other_method: str) -> TokenError | None:
    if answer.is_success:
        return None
    error = failure(answer, secrets=secrets, endpoint="revocation", other_method=other_method)
    return None if (error.status, error.error) == _UNKNOWN_TOKEN else error


def _unrevoked(error: TokenError) -> RevocationFailed:
    message = f"the server did not confirm the revocation: {error}"
    return rebuild(RevocationFailed, message, {**vars(error), "local": False})
