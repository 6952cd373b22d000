"""The grant that a profile describes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypedDict

from evertoken.cli import secrets
from evertoken.cli.settings import REVOCATION_PATH, TOKEN_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evertoken.cli.settings import Settings
    from evertoken.core.token import TokenKey
    from evertoken.grants.client_auth import ClientAuth
    from evertoken.grants.credentials import Secret
    from evertoken.ports import Grant


class _Options(TypedDict):
    revoke_url: str
    client_auth: ClientAuth
    lifetime: float | None
    extra: Mapping[str, Secret]
    headers: Mapping[str, Secret]


def grant_of(
    settings: Settings,
    key: TokenKey,
    read: Callable[[str], str],
    *,
    password: bool = True,
    refresh_token: str | None = None,
) -> Grant:
    """The grant of `settings`, with its secrets read now.

    Args:
        settings: of a profile, variables and options.
        key: their identity.
        read: reads a secret by its name.
        password: read that too, not only when a token is requested.
        refresh_token: begins a new login.

    Raises:
        ValueError: a setting has a value that it cannot have.
    """
    client_id, username = str(key.client_id), str(key.username)
    token_url, options = settings.base_url + TOKEN_PATH, _options(settings)
    if settings.grant == "client_credentials":
        from evertoken import ClientCredentialsGrant  # noqa: PLC0415  one of three is needed

        return ClientCredentialsGrant(
            token_url, client_id=client_id, client_secret=read("client_secret"), **options
        )
    if settings.grant == "refresh_token":
        from evertoken import RefreshTokenGrant  # noqa: PLC0415  as above

        return RefreshTokenGrant(
            token_url,
            account=username,
            client_id=client_id,
            # a public client has none
            client_secret=read("client_secret") if secrets.has(settings, "client_secret") else None,
            refresh_token=refresh_token,
            **options,
        )
    from evertoken import PasswordGrant  # noqa: PLC0415  as above

    return PasswordGrant(
        token_url,
        client_id=client_id,
        username=username,
        client_secret=read("client_secret"),
        password=read("password") if password else functools.partial(read, "password"),
        **options,
    )


def _options(settings: Settings) -> _Options:
    request = settings.request
    return {
        "revoke_url": settings.base_url + REVOCATION_PATH,
        "client_auth": request.client_auth,
        "lifetime": request.lifetime,
        "extra": dict(request.extra),
        "headers": dict(request.headers),
    }
