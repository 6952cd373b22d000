"""Loopback without TLS: no proxy receives a password or a token."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
import requests.utils

from evertoken import BearerAuth, GrantUnavailable, InsecureURL, RevocationFailed, proxies
from evertoken.testing import Answer, TokenServer
from support.http_clients import WAIT, grant_of, manager_of
from support.http_proxy import Proxy
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken import TokenManager
    from support.http_clients import Authority

LOGIN = "ann:planted-login"
VARIABLES = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "Http_Proxy"]
HOSTS = ["127.0.0.1", "localhost", "127.1.2.3", "[::1]"]


@pytest.fixture
def proxy(token_server: TokenServer) -> Iterator[Proxy]:
    """A proxy that leads every loopback host to the token server, so that only its log shows it."""
    port = port_of(token_server)
    with Proxy({f"{host}:{port}": port for host in HOSTS}) as proxy:
        yield proxy


def port_of(server: TokenServer) -> int:
    port = urlsplit(server.base_url).port
    assert port
    return port


def at(host: str, url: str) -> str:
    return url.replace("127.0.0.1", host)


def secretly(proxy: Proxy) -> str:
    return proxy.url.replace("//", f"//{LOGIN}@")


def sign(auth: BearerAuth, url: str) -> object:
    return auth(requests.Request("GET", url).prepare()).headers.get("Authorization")


# --- token and revocation requests ---------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_grant_and_a_revocation_bypass_the_proxy_of_the_environment(
    token_server: TokenServer,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    host: str,
) -> None:  # S54
    token = grant_of(token_server).request()
    monkeypatch.setenv(variable, proxy.url)
    grant = grant_of(
        token_server,
        token_url=at(host, token_server.token_url),
        revoke_url=at(host, token_server.revoke_url),
    )

    # the server listens only at the first two of them
    listens = host in {"127.0.0.1", "localhost"}
    with nullcontext() if listens else pytest.raises(GrantUnavailable, match="could not be asked:"):
        grant.request()
    with nullcontext() if listens else pytest.raises(RevocationFailed, match="could not be asked:"):
        grant.revoke(token)

    assert proxy.asked == []


@pytest.mark.parametrize("key", ["http", "all", "http://127.0.0.1"])
def test_a_grant_and_a_revocation_bypass_the_given_proxies(
    token_server: TokenServer, proxy: Proxy, key: str
) -> None:  # S54
    grant = grant_of(token_server, proxies={key: proxy.url})

    grant.revoke(grant.request())

    assert proxy.asked == []


def test_allowing_http_does_not_enable_a_proxy_for_loopback(
    token_server: TokenServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:  # S54
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    grant_of(token_server, proxies=proxy.everything, allow_http=True).request()
    assert proxy.asked == []


def test_loopback_with_tls_may_be_behind_a_proxy(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:  # F26
    with TokenServer(ssl_context=authority.context()) as server:
        target = f"127.0.0.1:{port_of(server)}"
        with Proxy({target: port_of(server)}) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            manager = manager_of(server, grant=grant_of(server, verify=authority.bundle))
            with requests.Session() as session:
                session.verify = authority.bundle
                session.auth = BearerAuth(manager)
                assert session.get(server.api_url, timeout=WAIT).status_code == 200
    assert proxy.asked == [f"CONNECT {target}"] * 2


# --- API requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_request_that_a_proxy_would_receive_is_rejected_before_any_grant(
    token_server: TokenServer,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    host: str,
) -> None:  # S54
    monkeypatch.setenv(variable, secretly(proxy))
    url = at(host, token_server.api_url)
    auth = BearerAuth(manager_of(token_server), origins=[url])

    with pytest.raises(InsecureURL, match="would go to a proxy in plain text") as caught:
        requests.get(url, auth=auth, timeout=WAIT)

    assert proxy.asked == []
    assert token_server.requests == ()
    assert "planted-login" not in f"{caught.value!r} {vars(caught.value)}"
    assert str(proxy.server_port) not in str(caught.value)


@pytest.mark.parametrize("host", HOSTS)
def test_the_remedy_named_by_the_error_works(
    token_server: TokenServer, manager: TokenManager, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:  # S54
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    url = at(host, token_server.api_url)
    auth = BearerAuth(manager, origins=[url])
    with pytest.raises(InsecureURL) as caught:
        sign(auth, url)

    named = re.search(r"NO_PROXY=([^)]*)", str(caught.value))
    assert named
    monkeypatch.setenv("NO_PROXY", named[1])

    assert sign(auth, url) == manager.header()
    assert named[1].startswith("127.0.0.1,localhost")


def test_a_variable_counts_from_the_request_after_it_was_set(
    token_server: TokenServer, manager: TokenManager, monkeypatch: pytest.MonkeyPatch
) -> None:  # S54
    auth, url = BearerAuth(manager), token_server.api_url
    for variable in VARIABLES:
        assert sign(auth, url)
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        with pytest.raises(InsecureURL):
            sign(auth, url)
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("variable", VARIABLES[:4])
def test_a_proxy_variable_that_replaces_another_variable_counts(
    token_server: TokenServer,
    manager: TokenManager,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:  # S54
    auth, url = BearerAuth(manager), token_server.api_url
    monkeypatch.setenv("PLACEHOLDER", "x")
    assert sign(auth, url)

    monkeypatch.delenv("PLACEHOLDER")
    monkeypatch.setenv(variable, "http://127.0.0.1:9")

    with pytest.raises(InsecureURL):
        sign(auth, url)


@pytest.mark.parametrize(
    "harmless",
    [
        {"HTTPS_PROXY": "http://127.0.0.1:9"},
        {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "*"},
        {"HTTP_PROXY": "http://127.0.0.1:9", "no_proxy": "localhost,127.0.0.0/8"},
        {"HTTP_PROXY": ""},
        {"NO_PROXY": "example.com"},
    ],
)
def test_an_environment_without_a_proxy_for_loopback_is_accepted(
    token_server: TokenServer,
    manager: TokenManager,
    monkeypatch: pytest.MonkeyPatch,
    harmless: dict[str, str],
) -> None:  # S54
    for name, value in harmless.items():
        monkeypatch.setenv(name, value)
    assert requests.get(token_server.api_url, auth=BearerAuth(manager), timeout=WAIT).ok


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST"])
def test_an_odd_spelling_of_the_url_does_not_bypass_the_check(
    manager: TokenManager, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:  # S54
    auth = BearerAuth(manager, origins=[f"http://{host}"])
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    request = requests.Request("GET", f"http://{host}/").prepare()
    for url in (f"http://{host}:80/a", f"HTTP://{host}/a", f"http://{host}?a"):
        request.url = url
        with pytest.raises(InsecureURL):
            auth(request)


def test_a_request_that_is_authorized_again_is_checked_again(
    token_server: TokenServer, manager: TokenManager, monkeypatch: pytest.MonkeyPatch
) -> None:  # S54
    auth = BearerAuth(manager)
    request = auth(requests.Request("GET", token_server.api_url).prepare())
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(InsecureURL):
        auth(request)


def test_a_request_without_a_token_may_go_through_a_proxy(
    manager: TokenManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    foreign = requests.Request("GET", "http://127.0.0.1:9/elsewhere").prepare()
    assert "Authorization" not in BearerAuth(manager)(foreign).headers


def test_a_request_whose_header_would_be_replaced_is_rejected_too(
    token_server: TokenServer, manager: TokenManager, monkeypatch: pytest.MonkeyPatch
) -> None:  # S54, S59
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    own = requests.Request("GET", token_server.api_url, headers={"Authorization": "Basic eA=="})
    with pytest.raises(InsecureURL):
        BearerAuth(manager)(own.prepare())


def test_other_origins_may_be_behind_a_proxy(
    manager: TokenManager, monkeypatch: pytest.MonkeyPatch
) -> None:  # F26
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    origins = ["https://127.0.0.1", "https://api.example.com", "http://api.example.com"]
    auth = BearerAuth(manager, origins=origins, allow_http=True)
    for origin in origins:
        assert sign(auth, f"{origin}/a") == manager.header()
    odd = requests.Request("GET", "https://127.0.0.1/").prepare()
    odd.url = "HTTPS://127.0.0.1:443/a"
    assert auth(odd).headers["Authorization"] == manager.header()


def test_settings_of_the_system_count_like_variables(
    token_server: TokenServer, manager: TokenManager, monkeypatch: pytest.MonkeyPatch
) -> None:  # S54
    auth = BearerAuth(manager)
    monkeypatch.setattr(proxies, "_VARIABLES_DECIDE", False)
    assert sign(auth, token_server.api_url)
    monkeypatch.setattr(requests.utils, "getproxies", lambda: {"http": "http://127.0.0.1:9"})
    with pytest.raises(InsecureURL):
        sign(auth, token_server.api_url)


def test_a_replaced_environment_counts(
    token_server: TokenServer, manager: TokenManager, monkeypatch: pytest.MonkeyPatch
) -> None:  # S54
    auth = BearerAuth(manager)
    monkeypatch.setattr(os, "environ", {})
    assert sign(auth, token_server.api_url)
    monkeypatch.setattr(os, "environ", {"http_proxy": "http://127.0.0.1:9"})
    with pytest.raises(InsecureURL):
        sign(auth, token_server.api_url)


# --- proxies of the session, which are seen afterwards only ---------------------------------------


def test_a_proxy_of_the_session_is_logged_once(
    token_server: TokenServer,
    proxy: Proxy,
    manager: TokenManager,
    caplog: pytest.LogCaptureFixture,
) -> None:  # S54
    with requests.Session() as session:
        session.auth = BearerAuth(manager)
        session.proxies["http"] = secretly(proxy)
        for _ in range(3):
            assert session.get(token_server.api_url, timeout=WAIT).status_code == 200

    (warning,) = warned(caplog)
    assert "went to a proxy in plain text" in warning.getMessage()
    assert "planted-login" not in caplog.text
    assert len(proxy.asked) == 3


def test_the_replay_bypasses_a_proxy_of_the_session(
    token_server: TokenServer, proxy: Proxy, manager: TokenManager
) -> None:  # S54
    token_server.api.answer_next(Answer(401))
    before = manager.header()

    with requests.Session() as session:
        session.auth = BearerAuth(manager)
        session.proxies.update(proxy.everything)
        assert session.get(token_server.api_url, timeout=WAIT).status_code == 200

    first, second = (request.headers["Authorization"] for request in token_server.api.requests)
    assert (first, second) == (before, manager.header())
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("whose", ["session", "environment"])
def test_a_redirect_to_a_named_origin_sends_no_token_to_a_proxy(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:  # S54, S61
    with TokenServer() as other, requests.Session() as session:
        there = at("localhost", other.api_url)
        with Proxy({f"localhost:{port_of(other)}": port_of(other)}) as proxy:
            if whose == "session":
                session.proxies["http://localhost"] = proxy.url
            else:
                monkeypatch.setenv("HTTP_PROXY", proxy.url)
                monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            token_server.api.answer_next(Answer.redirect(there))
            origins = [token_server.base_url, there]
            session.auth = BearerAuth(manager_of(token_server), origins=origins)

            assert session.get(token_server.api_url, timeout=WAIT).status_code == 401

        assert len(proxy.asked) == 1
        assert [it.headers.get("Authorization") for it in other.api.requests] == [None]


def test_a_session_without_a_proxy_logs_no_warning(
    token_server: TokenServer, manager: TokenManager, caplog: pytest.LogCaptureFixture
) -> None:
    with requests.Session() as session:
        session.auth = BearerAuth(manager)
        session.proxies["https"] = "http://127.0.0.1:9"
        assert session.get(token_server.api_url, timeout=WAIT).status_code == 200
    assert warned(caplog) == []
