"""TLS to the token endpoint: nothing is sent to an untrusted server (RFC 6749 section 10.9)."""

from __future__ import annotations

import datetime as dt
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trustme

from evertoken import GrantUnavailable, RevocationFailed
from evertoken.testing import TokenServer
from support.http_clients import grant_of
from support.http_proxy import Proxy
from support.http_raw import RawServer

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from support.http_clients import Authority

NAME = "tokens.example.com"
NAMED_URL = f"https://{NAME}/oauth/token/"
PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[TokenServer]:
    with TokenServer(ssl_context=authority.context(None, NAME)) as server:
        yield server


def port_of(server: TokenServer) -> int:
    port = urlsplit(server.base_url).port
    assert port
    return port


def test_a_trusted_server_gets_the_request(
    tls_server: TokenServer, authority: Authority
) -> None:  # S7
    grant = grant_of(tls_server, verify=authority.bundle)

    grant.revoke(grant.request())

    assert len(tls_server.requests) == 3


def distrusted(kind: str, authority: Authority) -> trustme.LeafCert:
    if kind == "foreign CA":
        return trustme.CA().issue_cert("127.0.0.1")
    if kind == "expired":
        return authority.ca.issue_cert("127.0.0.1", not_before=PAST, not_after=PAST)
    return authority.ca.issue_cert("192.0.2.1", "other.example.com")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("foreign CA", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        ("another host", "certificate is not valid for '127.0.0.1'"),
    ],
)
def test_nothing_is_sent_to_an_untrusted_server(
    authority: Authority, kind: str, reason: str
) -> None:  # S7, F19
    with TokenServer(ssl_context=authority.context(distrusted(kind, authority))) as server:
        grant = grant_of(server, verify=authority.bundle)
        with pytest.raises(GrantUnavailable) as caught:
            grant.request()

    assert "the TLS certificate is not trusted" in str(caught.value)
    assert reason in str(caught.value)
    assert not caught.value.transient
    assert caught.value.local, "nothing was sent to the endpoint"  # S53
    assert server.requests == ()


def test_a_revocation_sends_nothing_to_an_untrusted_server(authority: Authority) -> None:  # S7
    leaf = distrusted("foreign CA", authority)
    with (
        TokenServer() as issuer,
        TokenServer(ssl_context=authority.context(leaf)) as server,
    ):
        grant = grant_of(issuer, revoke_url=server.revoke_url, verify=authority.bundle)
        token = grant.request()
        with pytest.raises(RevocationFailed, match="the TLS certificate is not trusted") as caught:
            grant.revoke(token)

    assert not caught.value.transient
    assert server.requests == ()


def test_a_private_ca_is_not_trusted_by_default(tls_server: TokenServer) -> None:  # S7
    with pytest.raises(GrantUnavailable, match="not trusted"):
        grant_of(tls_server).request()

    assert tls_server.requests == ()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_from_the_environment_is_used(
    tls_server: TokenServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:  # F26
    monkeypatch.setenv(variable, authority.bundle)

    grant_of(tls_server).request()

    assert tls_server.grants == 1


def test_an_explicit_bundle_overrides_that_of_the_environment(
    tls_server: TokenServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:  # F26
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")

    grant_of(tls_server, verify=authority.bundle).request()

    assert tls_server.grants == 1


def test_a_client_certificate_is_presented(authority: Authority, tmp_path: object) -> None:
    context = authority.context()
    context.verify_mode = context.verify_mode.CERT_REQUIRED
    authority.ca.configure_trust(context)
    pem = f"{tmp_path}/client.pem"
    authority.ca.issue_cert("client.example.com").private_key_and_cert_chain_pem.write_to_path(pem)
    with TokenServer(ssl_context=context) as server:
        with pytest.raises(GrantUnavailable):
            grant_of(server, verify=authority.bundle).request()
        assert server.requests == ()

        grant_of(server, verify=authority.bundle, cert=pem).request()

        assert server.grants == 1


def test_a_proxy_tunnel_is_used_and_its_login_is_sent_only_to_the_proxy(
    tls_server: TokenServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:  # F26
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    with Proxy({f"{NAME}:443": port_of(tls_server)}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//ann:se%20cret@"))
        token = grant_of(tls_server, token_url=NAMED_URL).request()

    assert token.value in tls_server.secrets
    assert proxy.asked == [f"CONNECT {NAME}:443"]
    assert proxy.logins == ["Basic YW5uOnNlIGNyZXQ="]
    assert "Proxy-Authorization" not in tls_server.requests[0].headers


def test_the_certificate_is_checked_through_a_tunnel_too(
    tls_server: TokenServer, authority: Authority
) -> None:  # S7, F26
    url = "https://other.example.com/oauth/token/"
    with Proxy({"other.example.com:443": port_of(tls_server)}) as proxy:
        grant = grant_of(
            tls_server, token_url=url, verify=authority.bundle, proxies=proxy.everything
        )
        with pytest.raises(
            GrantUnavailable, match=r"not valid for 'other\.example\.com'"
        ) as caught:
            grant.request()

    assert "through the proxy" not in str(caught.value)
    assert tls_server.requests == ()


def test_a_plain_request_goes_through_a_proxy_too(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # F26
    url = "http://tokens.internal/oauth/token/?a=b"
    with Proxy({"tokens.internal:80": port_of(token_server)}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        grant_of(token_server, token_url=url, allow_http=True).request()

    assert proxy.asked == [f"POST {url}"]


def test_the_variable_no_proxy_is_respected(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # F26
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    url = "http://tokens.internal/oauth/token/"
    with Proxy(status=502) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "tokens.internal")
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(GrantUnavailable, match="the name was not found"):
            grant_of(token_server, token_url=url, allow_http=True).request()

    assert proxy.asked == []


def test_proxies_given_to_the_grant_override_those_of_the_environment(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # F26
    url = "http://tokens.internal/oauth/token/"
    with Proxy(status=502) as ambient, Proxy({"tokens.internal:80": port_of(token_server)}) as own:
        monkeypatch.setenv("HTTP_PROXY", ambient.url)
        grant_of(token_server, token_url=url, proxies={"http": own.url}, allow_http=True).request()

    assert (len(ambient.asked), len(own.asked)) == (0, 1)


def test_a_server_that_hangs_up_in_the_handshake_is_reported(authority: Authority) -> None:  # F19
    def hang_up(connection: socket.socket, _closing: threading.Event) -> None:
        connection.recv(1)

    with RawServer(hang_up) as server, TokenServer() as issuer:
        url = f"https://127.0.0.1:{server.port}/oauth/token/"
        with pytest.raises(GrantUnavailable, match=r"TLS handshake|reset") as caught:
            grant_of(issuer, token_url=url, verify=authority.bundle).request()

    assert caught.value.transient
    assert caught.value.local  # S53
