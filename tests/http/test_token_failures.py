"""No answer, or a broken one: each cause is named, and whether it is transient."""

from __future__ import annotations

import re
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import GrantUnavailable, InvalidTokenResponse, TokenError
from evertoken.testing import (
    Answer,
    Behaviour,
    Cut,
    Drip,
    EarlyHints,
    Endless,
    Hang,
    Raw,
    Reset,
    TokenServer,
)
from support.http_clients import grant_of, manager_of
from support.http_proxy import Proxy
from support.http_raw import dripping
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from support.http_clients import Authority

OK = b"HTTP/1.1 200 OK\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\nA: " + b"b" * 1_000 + b"\r\n\r\n"


def failure_of(server: TokenServer, **options: Any) -> TokenError:
    """The error of a grant, which must not reference anything that could hold a secret."""
    with pytest.raises(TokenError) as caught:
        grant_of(server, **options).request()
    error = caught.value
    assert error.__cause__ is error.__context__ is None
    scanner = Scanner(password=server.password, client_secret=server.client_secret)
    assert scanner.found_on(error) == []
    return error


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (Reset(), "the connection was reset"),
        (Cut("head", keep=0), "the connection was closed without an answer"),
        (Cut("body"), "the answer was cut short"),
        (Cut("body", keep=0), "the answer was cut short"),
        (Cut("body", then=Endless()), "the answer was cut short"),
        (Raw(b"SSH-2.0-OpenSSH_9.9\r\n"), "the answer is no sound HTTP"),
        (Raw(b"HTTP/1.1 20"), "the answer is no sound HTTP"),
        (Raw(OK + b"A: b\r\n" * 200 + b"\r\n"), "the answer is no sound HTTP"),
        (Raw(OK + b"A: " + b"b" * 70_000), "the answer's headers are too large"),
        (Raw(OK + (b"A: " + b"b" * 9_000 + b"\r\n") * 9), "the answer's headers are too large"),
        # newer Pythons themselves accept at most 100 interim answers
        (Raw(INTERIM * 90), "the answer's headers are too large"),
        (Raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "the answer was cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_answer_that_does_not_arrive_names_its_cause(
    token_server: TokenServer, behaviour: Behaviour, cause: str
) -> None:  # F19
    token_server.token_endpoint.answer_always(behaviour)

    error = failure_of(token_server)

    assert isinstance(error, GrantUnavailable)
    assert str(error) == f"{token_server.base_url} could not be asked: {cause}"
    assert error.transient
    assert error.status is None
    assert not error.local, "the endpoint had the request"  # S53
    assert token_server.token_requests == 1, "there are no retries below a grant"


@pytest.mark.parametrize(
    ("behaviour", "status", "cause", "transient"),
    [
        (Cut("head"), 200, "the body is empty", True),
        (Raw(OK + b"Content-Ty"), 200, "the body is empty", True),
        (EarlyHints(), 103, "unexpected status 103", False),
    ],
    ids=["cut in the headers", "cut in the first header", "103 Early Hints"],
)
def test_a_truncated_answer_that_looks_complete_is_not_a_token(
    token_server: TokenServer, behaviour: Behaviour, status: int, cause: str, *, transient: bool
) -> None:  # F19
    token_server.token_endpoint.answer_always(behaviour)

    error = failure_of(token_server)

    assert isinstance(error, InvalidTokenResponse)
    assert cause in str(error)
    assert (error.status, error.transient) == (status, transient)
    assert token_server.token_requests == 1
    assert not error.local


@pytest.mark.parametrize("status", [400, 401, 403, 500, 503])
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br"},
        {},
    ],
    ids=["broken gzip", "unasked coding", "2 MiB"],
)
def test_an_unreadable_body_does_not_hide_the_status(
    token_server: TokenServer, status: int, headers: dict[str, str]
) -> None:  # F19, S23
    token_server.token_endpoint.answer_always(Answer(status, headers, b"{" * 2_000_000))

    error = failure_of(token_server)

    assert (error.status, error.transient) == (status, True)


@pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
@pytest.mark.parametrize("break_off", [partial(Cut, "body"), partial(Drip, 0.05)], ids=repr)
def test_a_truncated_body_does_not_hide_the_status(
    token_server: TokenServer, status: int, break_off: Callable[..., Behaviour]
) -> None:  # F19, F25
    headers = {"Content-Length": "4000", "Retry-After": "77"}
    whole = Answer(status, headers, b"{" * 4000)
    token_server.token_endpoint.answer_always(break_off(then=whole))

    error = failure_of(token_server, deadline=0.5)

    assert (error.status, error.retry_after, error.transient) == (status, 77, True)


@pytest.mark.parametrize("trouble", [Reset(), Cut("body"), Answer(503)], ids=repr)
def test_a_first_grant_is_retried_if_that_may_help(
    token_server: TokenServer, trouble: Behaviour
) -> None:  # F19
    token_server.token_endpoint.answer_next(trouble, trouble)

    manager_of(token_server).token()

    assert token_server.token_requests == 3


@pytest.mark.parametrize("trouble", [Answer(400), Answer(407), Answer(503, {"Retry-After": "60"})])
def test_a_first_grant_is_not_retried_if_that_may_do_harm(
    token_server: TokenServer, trouble: Behaviour
) -> None:  # F19, F20
    token_server.token_endpoint.answer_next(trouble)

    with pytest.raises(TokenError):
        manager_of(token_server).token()

    assert token_server.token_requests == 1


def test_a_silent_server_is_reported_after_the_timeout(
    token_server: TokenServer,
) -> None:  # F17, F19
    token_server.token_endpoint.answer_always(Hang())

    error = failure_of(token_server, timeout=0.2)

    assert isinstance(error, GrantUnavailable)
    assert "no answer came in time" in str(error)
    assert error.transient
    assert not error.local


def test_a_refused_connection_is_reported() -> None:  # F19
    with TokenServer() as server:
        pass

    error = failure_of(server)

    assert isinstance(error, GrantUnavailable)
    assert str(error) == f"{server.base_url} could not be asked: the connection was refused"
    assert error.transient
    assert error.local, "nothing was sent to the endpoint"  # S53


def test_an_unknown_host_name_is_reported(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # F19
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    error = failure_of(token_server, token_url="https://tokens.example.com/oauth/token/")

    assert isinstance(error, GrantUnavailable)
    assert str(error).endswith(
        "tokens.example.com could not be asked: the name was not found (DNS)"
    )
    assert error.transient
    assert error.local, "nothing was sent to the endpoint"  # S53


@pytest.mark.parametrize(
    ("status", "cause", "transient"),
    [
        (407, "it wants a login (407): put it into the proxy's URL", False),
        (403, "it opened no tunnel (status 403)", False),
        (502, "it opened no tunnel (status 502)", True),
    ],
)
def test_a_proxy_that_opens_no_tunnel_is_called_a_proxy(
    token_server: TokenServer,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    cause: str,
    *,
    transient: bool,
) -> None:  # F19
    with Proxy(status=status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        # a 407 in the port is not a 407 of the proxy
        error = failure_of(token_server, token_url="https://tokens.example.com:4070/oauth/token/")

    assert isinstance(error, GrantUnavailable)
    assert str(error) == (
        f"https://tokens.example.com:4070 could not be asked through the proxy: {cause}"
    )
    assert error.transient is transient
    assert error.local, "nothing was sent to the endpoint"  # S53
    assert proxy.asked == ["CONNECT tokens.example.com:4070"]


def test_a_proxy_that_requires_a_login_without_a_tunnel_is_reported(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # F19
    with Proxy(status=407) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        error = failure_of(
            token_server, token_url="http://tokens.internal/oauth/token/", allow_http=True
        )

    assert isinstance(error, GrantUnavailable)
    assert "the proxy wants a login (407)" in str(error)
    assert (error.status, error.transient) == (407, False)
    assert error.local, "nothing was sent to the endpoint"  # S53


def test_an_unreachable_proxy_is_reported(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # F19
    with Proxy() as proxy:
        pass
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:planted-login@127.0.0.1:{proxy.server_port}")

    error = failure_of(token_server, token_url="https://tokens.example.com/oauth/token/")

    assert isinstance(error, GrantUnavailable)
    assert "through the proxy: the connection was refused" in str(error)
    assert error.transient
    assert error.local, "nothing was sent to the endpoint"  # S53
    assert Scanner(login="planted-login").found_on(error) == []


@pytest.mark.parametrize("proxy", ["http://", "gopher://127.0.0.1:1"])
def test_an_invalid_proxy_setting_is_named(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:  # F19
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    error = failure_of(token_server, token_url="https://tokens.example.com/oauth/token/")

    assert isinstance(error, GrantUnavailable)
    assert "check the URL, `verify`, `cert`, `proxies` and `transport`" in str(error)
    assert not error.transient
    assert error.local, "nothing was sent to the endpoint"  # S53


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_the_package_that_a_socks_proxy_needs_is_named(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:  # F19
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", without_pysocks)
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://ann:planted@127.0.0.1:1")

    error = failure_of(token_server, token_url="https://tokens.example.com/oauth/token/")

    assert str(error).endswith('a SOCKS proxy needs a package: pip install "requests[socks]"')
    assert (error.transient, error.local) == (False, True)


def without_pysocks(*_: object, **__: object) -> None:
    """The stand-in that `requests` uses for the SOCKS manager without PySocks."""
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"verify": "/no/such/file.pem"}, "the CA bundle of `verify` or REQUESTS_CA_BUNDLE"),
        ({"cert": "/no/such/file.pem"}, "the certificate of `cert`"),
        ({"cert": (__file__, "/no/such/file.pem")}, "the key of `cert`"),
    ],
)
def test_a_missing_file_is_named(
    token_server: TokenServer, options: dict[str, object], what: str
) -> None:  # F19
    error = failure_of(token_server, token_url="https://127.0.0.1:1/oauth/token/", **options)

    assert isinstance(error, GrantUnavailable)
    assert str(error).endswith(f"there is no such file for {what}: /no/such/file.pem")
    assert not error.transient
    assert error.local, "nothing was sent to the endpoint"  # S53


def test_a_missing_bundle_of_the_environment_is_named(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # F19
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")

    error = failure_of(token_server, token_url="https://127.0.0.1:1/oauth/token/")

    assert "REQUESTS_CA_BUNDLE: /no/such/file.pem" in str(error)


@pytest.mark.parametrize(
    "key", ["-----BEGIN PRIVATE KEY-----\nplanted-key\n", "planted-key" * 40], ids=["PEM", "long"]
)
def test_a_key_in_the_place_of_its_path_is_not_shown(token_server: TokenServer, key: str) -> None:
    url = "https://127.0.0.1:1/oauth/token/"
    for options in ({"verify": key}, {"cert": key}, {"cert": (__file__, key)}):
        error = failure_of(token_server, token_url=url, **options)
        assert "planted" not in f"{error!r} {vars(error)}"
        assert error.local


@pytest.mark.parametrize("option", ["verify", "cert"])
def test_a_file_without_a_certificate_is_reported_with_openssls_reason(
    token_server: TokenServer, option: str
) -> None:  # F19
    with dripping(b"", b"") as server:
        url = f"https://127.0.0.1:{server.port}/oauth/token/"
        error = failure_of(token_server, token_url=url, **{option: __file__})

    assert re.search(
        r"the TLS handshake failed \((no certificate|pem lib|no start line)", str(error)
    )
    assert error.local
    assert error.local, "nothing was sent to the endpoint"  # S53


def test_plain_http_from_an_https_url_is_reported(
    token_server: TokenServer, authority: Authority
) -> None:  # F19
    url = token_server.token_url.replace("http://", "https://")

    error = failure_of(token_server, token_url=url, verify=authority.bundle)

    assert isinstance(error, GrantUnavailable)
    assert str(error).endswith("the TLS handshake failed (wrong version number)")
    assert error.local, "nothing was sent to the endpoint"  # S53
    assert token_server.requests == ()


def test_a_tls_version_refused_by_the_server_is_reported(authority: Authority) -> None:  # F19
    context = authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    modern = ssl.create_default_context(cafile=authority.bundle)
    modern.minimum_version = ssl.TLSVersion.TLSv1_3
    with TokenServer(ssl_context=context) as server:
        error = failure_of(server, verify=modern)

    assert str(error).endswith("the TLS handshake failed (tlsv1 alert protocol version)")
    assert error.local


def test_a_firewalls_page_and_a_wrong_url_have_different_errors(
    token_server: TokenServer,
) -> None:  # F19
    html = {"Content-Type": "text/html"}
    token_server.token_endpoint.answer_always(Answer(403, html, b"<h1>403 Forbidden</h1>"))
    page = failure_of(token_server)
    wrong = failure_of(token_server, token_url=f"{token_server.base_url}/no/such/place/")

    assert "(an HTML page, no OAuth answer: a firewall or proxy in between?)" in str(page)
    assert f"(check the URL {token_server.base_url}/no/such/place/)" in str(wrong)


def test_a_redirect_names_its_target(token_server: TokenServer) -> None:  # S9
    moved = Answer.redirect("https://id.example.com/token?secret=planted", status=308)
    token_server.token_endpoint.answer_always(moved)

    error = failure_of(token_server)

    assert "a redirect (status 308) to https://id.example.com/token is not followed" in str(error)
