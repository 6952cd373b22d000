"""The real `RefreshTokenGrant` in a simulated process: what it reads, and what it posts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

from evertoken import RefreshTokenGrant
from evertoken.core.effects import Reading
from evertoken.credentials import Credentials as Read
from evertoken.grants.token_endpoint import TokenEndpoint
from interleavings.scenario import key_of
from interleavings.server import Credentials

if TYPE_CHECKING:
    from evertoken.grants.token_endpoint import TokenRequest


class Posted(BaseException):
    """Carries the form in the place of an answer."""

    def __init__(self, form: dict[str, str]) -> None:
        self.form = form


def _post(_endpoint: TokenEndpoint, request: TokenRequest, **_: object) -> None:
    raise Posted(dict([*request.form, *request.client.form]))


def reading_of(credentials: Credentials, first: str) -> Reading:
    """What a grant with this user's client reads; `first` is its initial refresh token."""
    key = key_of(credentials.username)
    grant = RefreshTokenGrant(
        key.token_url,
        account=credentials.username,
        client_id=str(key.client_id),
        client_secret=credentials.password,
        refresh_token=first,
    )
    with mock.patch.object(TokenEndpoint, "ask", _post):
        found = grant.read()
    assert found.key == key
    return Reading(key, credentials.fingerprint, found, found.initial)


def posted(reading: Reading, refresh_token: str | None) -> Credentials:
    """The credentials that are sent to the server with `refresh_token`."""
    read = reading.credentials
    if isinstance(read, Credentials):
        return read
    assert isinstance(read, Read)
    assert read.refresh is not None
    assert refresh_token is not None
    form: dict[str, str] = {}
    try:
        read.refresh(refresh_token)
    except Posted as sent:
        form = sent.form
    assert (form["grant_type"], form["refresh_token"]) == ("refresh_token", refresh_token)
    return Credentials(str(reading.key.username), form["client_secret"])
