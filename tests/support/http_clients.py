"""Grants, managers and TLS for tests that talk to a `TokenServer`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evertoken import MemoryStore, PasswordGrant, RefreshPolicy, TokenManager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pytest
    import requests
    import trustme
    from requests import Response

    from evertoken.events import Event
    from evertoken.grants.client_auth import ClientAuth
    from evertoken.grants.credentials import Secret
    from evertoken.ports import Grant, TokenStore
    from evertoken.testing import TokenServer

WAIT = 20.0
"""Seconds that a test waits for something that should take much less."""


_AMBIENT = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC")


def clear_environment(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Remove the proxies, CA bundle and `.netrc` of the user who runs the tests."""
    for name in (*_AMBIENT, *map(str.upper, _AMBIENT), *_BUNDLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))


def grant_of(
    server: TokenServer,
    *,
    token_url: str | None = None,
    client_id: Secret | None = None,
    client_secret: Secret | None = None,
    username: Secret | None = None,
    password: Secret | None = None,
    scope: str | None = None,
    revoke_url: str | None = None,
    extra: Mapping[str, Secret] | None = None,
    headers: Mapping[str, Secret] | None = None,
    client_auth: ClientAuth = "body",
    timeout: float = WAIT,
    deadline: float = WAIT,
    default_lifetime: float = 300.0,
    lifetime: float | None = None,
    max_lifetime: float | None = None,
    verify: bool | str | ssl.SSLContext = True,
    cert: str | None = None,
    proxies: Mapping[str, str] | None = None,
    transport: Callable[[], requests.Session] | None = None,
    allow_http: bool = False,
) -> PasswordGrant:
    """A grant with the server's credentials, unless others are given; "" for none."""
    return PasswordGrant(
        token_url or server.token_url,
        client_id=client_id or server.client_id or None,
        client_secret=server.client_secret if client_secret is None else client_secret,
        username=username or server.username,
        password=password or server.password,
        scope=scope,
        extra=extra,
        headers=headers,
        revoke_url=server.revoke_url if revoke_url is None else revoke_url,
        client_auth=client_auth,
        timeout=timeout,
        deadline=deadline,
        default_lifetime=default_lifetime,
        lifetime=lifetime,
        max_lifetime=max_lifetime,
        verify=verify,
        cert=cert,
        proxies=proxies,
        transport=transport,
        allow_http=allow_http,
    )


def manager_of(
    server: TokenServer,
    *,
    grant: Grant | None = None,
    store: TokenStore | None = None,
    policy: RefreshPolicy | None = None,
    timeout: float = WAIT,
    on_event: Callable[[Event], None] | None = None,
) -> TokenManager:
    """A manager that shares its token with no other."""
    return TokenManager(
        grant or grant_of(server),
        store=store,
        memory=MemoryStore(),
        policy=policy or RefreshPolicy(),
        timeout=timeout,
        on_event=on_event,
    )


def get(session: requests.Session, server: TokenServer, *, stream: bool = False) -> Response:
    """Call the API of `server`."""
    return session.get(server.api_url, timeout=WAIT, stream=stream)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority for tests.

    Attributes:
        bundle: path of its certificate, for `verify`.
    """

    ca: trustme.CA
    bundle: str

    def context(self, leaf: trustme.LeafCert | None = None, *hosts: str) -> ssl.SSLContext:
        """A server-side context with `leaf`, or a valid certificate for loopback and `hosts`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (leaf or self.ca.issue_cert("127.0.0.1", "localhost", *hosts)).configure_cert(context)
        return context
