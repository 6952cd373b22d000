"""The options of a grant about its server, checked once: what they make is one `TokenEndpoint`."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, TypedDict

from evertoken import urls
from evertoken.core.token import LONGEST_LIFETIME
from evertoken.grants import additions
from evertoken.grants.token_endpoint import TokenEndpoint
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    import requests

    from evertoken.grants import response
    from evertoken.grants.client_auth import ClientAuth
    from evertoken.grants.credentials import Secret
else:
    # most grants ask for no scope
    response = lazy("evertoken.grants.response")


class EndpointOptions(TypedDict, total=False):
    """What every grant at a token endpoint takes by keyword; `PasswordGrant` documents each.

    `scope`, `extra` (`audience`, `resource` …) and `headers` are part of the identity.
    """

    revoke_url: str | None
    scope: str | None
    extra: Mapping[str, Secret] | None
    headers: Mapping[str, Secret] | None
    client_auth: ClientAuth
    timeout: float
    deadline: float
    default_lifetime: float
    lifetime: float | None
    max_lifetime: float | None
    verify: bool | str | ssl.SSLContext
    cert: str | tuple[str, str] | None
    proxies: Mapping[str, str] | None
    transport: Callable[[], requests.Session] | None
    allow_http: bool


def token_endpoint(
    token_url: str,
    *,
    revoke_url: str | None = None,
    scope: str | None = None,
    extra: Mapping[str, Secret] | None = None,
    headers: Mapping[str, Secret] | None = None,
    client_auth: ClientAuth = "body",
    timeout: float = 10.0,
    deadline: float = 30.0,
    default_lifetime: float = 300.0,
    lifetime: float | None = None,
    max_lifetime: float | None = None,
    verify: bool | str | ssl.SSLContext = True,
    cert: str | tuple[str, str] | None = None,
    proxies: Mapping[str, str] | None = None,
    transport: Callable[[], requests.Session] | None = None,
    allow_http: bool = False,
) -> TokenEndpoint:
    """The endpoint with these options, the same object for equal ones.

    Raises:
        InsecureURL: a URL is not https.
        ValueError: an option has a value that it cannot have, or one excludes another.
        TypeError: a credential is neither text nor callable, or `transport` is not callable.
    """
    made = TokenEndpoint(
        token_url=urls.checked(token_url, what="token_url", allow_http=allow_http),
        revoke_url=_url("revoke_url", revoke_url, allow_http=allow_http),
        scope=_scope(scope),
        extra=additions.parameters(extra),
        headers=additions.fields(headers),
        client_auth=_client_auth(client_auth),
        default_lifetime=_seconds("default_lifetime", default_lifetime, LONGEST_LIFETIME),
        lifetime=_maybe("lifetime", lifetime),
        max_lifetime=_maybe("max_lifetime", max_lifetime),
        timeout=_seconds("timeout", timeout, threading.TIMEOUT_MAX),
        deadline=_seconds("deadline", deadline, threading.TIMEOUT_MAX),
        verify=_verify(verify, cert, transport),
        cert=cert,
        proxies=tuple((proxies or {}).items()),
        transport=_transport(transport),
    )
    try:
        return _first(made)
    except TypeError:
        # a callable of the user's that has no hash
        return made


@functools.lru_cache(maxsize=64)
def _first(equal: TokenEndpoint) -> TokenEndpoint:
    """The first of the endpoints that are equal."""
    return equal


def _url(name: str, url: str | None, *, allow_http: bool) -> str | None:
    return urls.checked(url, what=name, allow_http=allow_http) if url else None


def _scope(scope: str | None) -> str | None:
    if scope and not response.SCOPE.fullmatch(scope):
        raise ValueError(
            "scope must be words of printable ASCII without quotes and backslashes, one space apart"
        )
    return scope or None


def _client_auth(method: ClientAuth) -> ClientAuth:
    if method not in ("body", "basic", "basic-raw"):
        raise ValueError(f'client_auth must be "body", "basic" or "basic-raw", not {method!r}')
    return method


def _verify(
    verify: bool | str | ssl.SSLContext,  # noqa: FBT001  as requests has it
    cert: object,
    transport: object,
) -> bool | str | ssl.SSLContext:
    # not isinstance(): the module ssl is loaded with the first grant
    if hasattr(verify, "wrap_socket"):
        if cert is not None:
            raise ValueError("with an SSLContext as verify, load the certificate into it, not cert")
        if transport is not None:
            raise ValueError("with transport, mount an adapter with the SSLContext in its session")
    return verify


def _transport(
    transport: Callable[[], requests.Session] | None,
) -> Callable[[], requests.Session] | None:
    if transport is not None and not callable(transport):
        raise TypeError("transport must be a callable that returns a requests.Session")
    return transport


def _maybe(name: str, value: float | None) -> float | None:
    return None if value is None else _seconds(name, value, LONGEST_LIFETIME)


def _seconds(name: str, value: float, most: float) -> float:
    if not 0 < value <= most:
        raise ValueError(f"{name} must be seconds above 0, at most {most:.0f}, not {value!r}")
    return value
