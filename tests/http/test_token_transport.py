"""Custom TLS contexts and sessions: they are used, and bounded like any other request."""

from __future__ import annotations

import contextlib
import gc
import io
import socket
import ssl
import time
import types
from typing import TYPE_CHECKING

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.util.retry import Retry

from evertoken import (
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    MemoryStore,
    PasswordGrant,
    TokenError,
    TokenManager,
)
from evertoken.testing import Answer, Drip, Endless, Hang, Reset, TokenServer
from support.http_clients import grant_of, manager_of
from support.http_proxy import Proxy
from support.http_raw import dripping
from support.scanner import Scanner
from support.values import pickled

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from evertoken.testing import Behaviour
    from support.http_clients import Authority

DEADLINE = 0.3


def error_of(grant: PasswordGrant) -> TokenError:
    with pytest.raises(TokenError) as caught:
        grant.request()
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


# --- verify=ssl.SSLContext ------------------------------------------------------------------------


def test_a_context_is_used_for_grants_and_revocations(authority: Authority) -> None:  # S7
    context = ssl.create_default_context(cafile=authority.bundle)
    with TokenServer(ssl_context=authority.context()) as server:
        grant = grant_of(server, verify=context)

        grant.revoke(grant.request())

        assert len(server.requests) == 3


def test_a_context_is_not_changed(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:  # S7
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # `requests` would load this bundle, or certifi's, into the context
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    with TokenServer(ssl_context=authority.context()) as server:
        error = error_of(grant_of(server, verify=context))

        assert "the TLS certificate is not trusted" in str(error)
        assert server.requests == ()
    assert context.get_ca_certs() == []
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_context_without_verification_is_accepted(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with TokenServer(ssl_context=authority.context()) as server:
        grant_of(server, verify=context).request()

    assert context.verify_mode is ssl.CERT_NONE


def test_the_client_certificate_of_a_context_is_used(
    authority: Authority, tmp_path: object
) -> None:
    demanding = authority.context()
    demanding.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(demanding)
    pem = f"{tmp_path}/client.pem"
    authority.ca.issue_cert("client.example.com").private_key_and_cert_chain_pem.write_to_path(pem)
    context = ssl.create_default_context(cafile=authority.bundle)
    context.load_cert_chain(pem)
    with TokenServer(ssl_context=demanding) as server:
        grant_of(server, verify=context).request()

        assert server.grants == 1


def test_a_context_is_used_behind_a_proxy_too(authority: Authority) -> None:  # S7, F26
    context = ssl.create_default_context(cafile=authority.bundle)
    with TokenServer(ssl_context=authority.context(None, "tokens.example.com")) as server:
        port = int(server.base_url.rpartition(":")[2])
        url = "https://tokens.example.com/oauth/token/"
        with Proxy({"tokens.example.com:443": port}) as proxy:
            options: dict[str, Any] = {"token_url": url, "proxies": proxy.everything}
            grant_of(server, verify=context, **options).request()
            distrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            error = error_of(grant_of(server, verify=distrusting, **options))

        assert "not trusted" in str(error)
        assert server.grants == 1


def test_a_context_excludes_the_options_that_would_change_it(authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.bundle)
    with TokenServer() as server:
        with pytest.raises(ValueError, match="load the certificate into it"):
            grant_of(server, verify=context, cert="client.pem")
        with pytest.raises(ValueError, match="mount an adapter"):
            grant_of(server, verify=context, transport=requests.Session)


def password() -> str:
    return "planted-password"


def session() -> requests.Session:
    return requests.Session()


def picklable(**options: Any) -> PasswordGrant:
    given = {"client_id": "c", "username": "u", "password": password, **options}
    return PasswordGrant("https://a.example/", **given)


def test_a_context_does_not_pickle_and_the_error_names_the_remedy() -> None:  # F7
    grant = picklable(verify=ssl.create_default_context())
    for each in (grant, TokenManager(grant, memory=MemoryStore())):
        with pytest.raises(TypeError, match="give verify the path of a CA bundle"):
            pickled(each)


def test_the_other_options_pickle() -> None:  # F7
    grant = picklable(
        transport=session,
        extra={"audience": "a", "otp": password},
        headers={"X-Tenant": password, "User-Agent": "my-app"},
        proxies={"https": "http://proxy.example:3128"},
        lifetime=60,
    )

    travelled = pickled(grant)

    assert travelled.key == grant.key
    assert travelled._endpoint == grant._endpoint


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"headers": {"X-Api-Key": "planted-key"}}, "its header X-Api-Key as text"),
        ({"proxies": {"https": "http://ann:planted-key@proxy.example"}}, "set HTTPS_PROXY"),
    ],
)
def test_a_grant_with_literal_secrets_does_not_pickle(
    options: dict[str, Any], remedy: str
) -> None:  # F7
    with pytest.raises(TypeError, match=remedy) as caught:
        pickled(picklable(**options))

    assert "planted" not in str(caught.value)


# --- a session of the user's own ------------------------------------------------------------------


def test_the_adapters_and_the_headers_of_a_session_are_used(token_server: TokenServer) -> None:
    class Stamping(HTTPAdapter):
        """An adapter that signs its requests."""

        def __init__(self, stamp: str) -> None:
            self.stamp = stamp
            super().__init__()

        def add_headers(self, request: requests.PreparedRequest, **_: object) -> None:
            request.headers["X-Stamp"] = self.stamp

    made = requests.Session()
    made.mount("http://", Stamping("signed"))
    made.headers["User-Agent"] = "my-app/1.0"
    made.headers["X-Removed"] = None  # type: ignore[assignment]  # as `requests` documents it
    grant = grant_of(token_server, transport=lambda: made)

    grant.revoke(grant.request())

    assert len(token_server.requests) == 3
    for request in token_server.requests:
        assert request.headers["X-Stamp"] == "signed"
        assert request.headers["User-Agent"] == "my-app/1.0"
        assert request.headers["Accept"] == "application/json"
        assert "X-Removed" not in request.headers


@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_the_login_the_cookies_and_the_hooks_of_a_session_are_not_used(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, client_auth: Any
) -> None:  # S4
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ann password planted\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[object] = []
    made = requests.Session()
    made.auth = ("ann", "planted")
    made.params = {"planted": "planted"}
    made.cookies.set("session", "planted")
    made.headers.update(
        {"Authorization": "planted", "Cookie": "planted=1", "proxy-authorization": "planted"}
    )
    made.hooks["response"].append(lambda response, **_: seen.append(response.content))
    cookie = {"Set-Cookie": "tracking=planted"}
    token_server.token_endpoint.answer_next(Answer.json({"access_token": "t"}, headers=cookie))

    grant_of(token_server, transport=lambda: made, client_auth=client_auth).request()

    (request,) = token_server.requests
    assert "planted" not in f"{request.query} {dict(request.headers)} {request.body!r}"
    assert ("Authorization" in request.headers) is (client_auth == "basic")
    assert [cookie.name for cookie in made.cookies] == ["session"]
    assert seen == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_session_follows_no_redirect(token_server: TokenServer, status: int) -> None:  # S9
    with TokenServer() as thief:
        moved = Answer.redirect(thief.token_url, status=status)
        token_server.token_endpoint.answer_always(moved)
        error = error_of(grant_of(token_server, transport=requests.Session))

        assert thief.requests == ()
    assert isinstance(error, InvalidTokenResponse)


@pytest.mark.parametrize("trouble", [Answer(503, {"Retry-After": "9"}), Answer(401), Reset()])
def test_an_adapter_repeats_no_request(token_server: TokenServer, trouble: Behaviour) -> None:
    token_server.token_endpoint.answer_always(trouble)
    stubborn = Retry(5, status_forcelist=[401, 503], allowed_methods=None, raise_on_status=False)
    made = requests.Session()
    made.mount("http://", HTTPAdapter(max_retries=stubborn))

    start = time.monotonic()
    error_of(grant_of(token_server, transport=lambda: made))

    assert token_server.token_requests == 1
    assert time.monotonic() - start < 5
    adapter = made.get_adapter(token_server.token_url)
    assert isinstance(adapter, HTTPAdapter)
    assert adapter.max_retries is stubborn, "the user's own adapter does not change"


def own(context: ssl.SSLContext | None = None) -> requests.Session:
    """A session with a custom adapter class that has an attribute of its own."""

    class Own(HTTPAdapter):
        def __init__(self, context: ssl.SSLContext | None) -> None:
            self.context = context
            super().__init__()

        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, ssl_context=self.context, **options)

    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, Own(context))
    return made


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    ],
    ids=["status line", "headers", "body"],
)
def test_the_deadline_applies_to_a_custom_adapter(head: bytes, drop: bytes) -> None:  # F17
    with dripping(head, drop) as slow, TokenServer() as issuer:
        url = f"http://127.0.0.1:{slow.port}/oauth/token/"
        grant = grant_of(issuer, token_url=url, deadline=DEADLINE, transport=own)
        start = time.monotonic()
        error = error_of(grant)

    assert DEADLINE <= time.monotonic() - start < DEADLINE + 1
    assert f"did not answer in full within {DEADLINE:g} s" in str(error)
    assert not error.local


def test_the_timeout_applies_to_a_session_too(token_server: TokenServer) -> None:  # F17
    token_server.token_endpoint.answer_always(Hang())

    assert "no answer came in time" in str(
        error_of(grant_of(token_server, timeout=0.2, transport=own))
    )


@pytest.mark.parametrize("flood", [Endless(), Endless(gzip=True)], ids=repr)
def test_the_size_is_bounded_for_a_session_too(
    token_server: TokenServer, flood: Behaviour
) -> None:  # S21, F18
    token_server.token_endpoint.answer_always(flood)

    assert "larger than 1048576 bytes" in str(error_of(grant_of(token_server, transport=own)))


def test_a_session_in_use_is_not_changed(token_server: TokenServer) -> None:
    made = own()
    made.get(token_server.base_url, timeout=5)
    adapter = made.get_adapter(token_server.token_url)
    assert isinstance(adapter, HTTPAdapter)
    pools = adapter.poolmanager.pools
    (pool,) = (pools[key] for key in pools.keys())  # noqa: SIM118  it is not a mapping
    before = dict(vars(adapter)), pool.num_connections, pool.ConnectionCls
    grant = grant_of(token_server, transport=lambda: made)

    grant.request()
    token_server.token_endpoint.answer_next(Drip(0.05))
    with pytest.raises(GrantUnavailable):
        grant_of(token_server, transport=lambda: made, deadline=0.2).request()
    made.get(token_server.base_url, timeout=5)

    assert (vars(adapter), pool.num_connections, pool.ConnectionCls) == before


def test_the_tls_of_a_session_is_used(authority: Authority) -> None:  # S7
    context = ssl.create_default_context(cafile=authority.bundle)
    with TokenServer(ssl_context=authority.context()) as server:
        grant_of(server, transport=lambda: own(context), verify=authority.bundle).request()
        by_session = requests.Session()
        by_session.verify = authority.bundle
        grant_of(server, transport=lambda: by_session).request()
        assert "not trusted" in str(error_of(grant_of(server, transport=requests.Session)))

        assert server.grants == 2


def test_an_option_of_the_grant_overrides_the_session(authority: Authority) -> None:
    made = requests.Session()
    made.verify = "/no/such/bundle.pem"
    with TokenServer(ssl_context=authority.context()) as server:
        grant_of(server, transport=lambda: made, verify=authority.bundle).request()

        assert server.grants == 1


def test_the_proxies_of_a_session_are_used(token_server: TokenServer) -> None:  # F26
    port = int(token_server.base_url.rpartition(":")[2])
    with Proxy({"tokens.internal:80": port}) as proxy:
        made = requests.Session()
        made.proxies = proxy.everything
        grant_of(
            token_server,
            token_url="http://tokens.internal/oauth/token/",
            transport=lambda: made,
            allow_http=True,
        ).request()
        assert proxy.asked == ["POST http://tokens.internal/oauth/token/"]
        # it never leaves this machine
        grant_of(token_server, transport=lambda: made).request()

        assert len(proxy.asked) == 1  # S54


def test_a_session_that_does_not_trust_the_environment_ignores_its_proxies(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    made = requests.Session()
    made.trust_env = False
    with Proxy(status=502) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        grant = grant_of(token_server, token_url="https://a.example/t", transport=lambda: made)
        assert "(DNS)" in str(error_of(grant))

        assert proxy.asked == []


def test_default_headers_of_a_session_are_masked_in_an_echo(
    token_server: TokenServer,
) -> None:  # S55
    made = requests.Session()
    made.headers["X-Api-Key"] = "planted-api-key"
    made.headers["X-Bytes"] = b"planted-bytes"  # type: ignore[assignment]  # it is sent all the same
    for echo in ("planted-api-key", "planted-bytes", "planted%252Dapi%252Dkey"):
        token_server.refuse("invalid_grant", description=f"no {echo}!")
        error = error_of(grant_of(token_server, transport=lambda: made))
        assert isinstance(error, GrantRefused)
        assert "planted" not in f"{error!r} {vars(error)}"


class Canned(BaseAdapter):
    """An adapter that is not an `HTTPAdapter`, like those of mocking libraries."""

    def __init__(self, answer: Callable[[], requests.Response]) -> None:
        self.answer = answer
        self.asked: list[tuple[requests.PreparedRequest, dict[str, Any]]] = []
        super().__init__()

    def send(  # type: ignore[override]  # by keyword alone
        self, request: requests.PreparedRequest, **settings: Any
    ) -> requests.Response:
        self.asked.append((request, settings))
        return self.answer()

    def close(self) -> None:
        """Nothing to close."""


def canned(adapter: Canned) -> Callable[[], requests.Session]:
    made = requests.Session()
    made.mount("https://", adapter)
    return lambda: made


def test_any_kind_of_adapter_may_answer() -> None:
    def granted() -> requests.Response:
        response = requests.Response()
        response.status_code = 201
        response.raw = io.BytesIO(b'{"access_token": "t", "token_type": "Bearer"}')
        return response

    adapter = Canned(granted)
    grant = picklable(transport=canned(adapter), timeout=7)

    assert grant.request().value == "t"
    ((request, settings),) = adapter.asked
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (settings["timeout"], settings["stream"]) == (7, True)


def test_a_failure_of_a_custom_adapter_is_shared_since_it_may_have_sent_something() -> None:  # S53
    def broken() -> requests.Response:
        raise LookupError(f"planted in {password()}")

    error = error_of(picklable(transport=canned(Canned(broken))))

    assert "LookupError: check the URL" in str(error)
    assert not error.local
    assert Scanner(password=password()).found_on(error) == []


class Trickle(io.RawIOBase):
    """An endless body, one byte at a time."""

    def read(self, _size: int = -1, /) -> bytes:
        time.sleep(0.02)
        return b" "


def test_the_deadline_bounds_the_body_of_a_custom_adapter() -> None:  # F17
    def endless() -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        response.raw = Trickle()
        return response

    start = time.monotonic()
    error = error_of(picklable(transport=canned(Canned(endless)), deadline=DEADLINE))

    assert "did not answer in full" in str(error)
    assert time.monotonic() - start < DEADLINE + 1


def leaky() -> requests.Session:
    raise LookupError("planted in the vault")


def locked() -> requests.Session:
    raise GrantUnavailable("unlock the vault first")


@pytest.mark.parametrize(
    ("transport", "message"),
    [
        (leaky, "could not make the session: transport raised LookupError"),
        (locked, "unlock the vault first"),
        (lambda: None, "transport must return a requests.Session, not NoneType"),
        (HTTPAdapter, "transport must return a requests.Session, not HTTPAdapter"),
    ],
)
def test_a_transport_that_does_not_return_a_session_is_reported(
    token_server: TokenServer, transport: Any, message: str
) -> None:
    error = error_of(grant_of(token_server, transport=transport))

    assert str(error) == message
    assert error.local
    assert token_server.requests == ()


def test_a_transport_must_be_callable(token_server: TokenServer) -> None:
    with pytest.raises(TypeError, match="transport must be a callable"):
        grant_of(token_server, transport=requests.Session())  # type: ignore[arg-type]  # as said


def test_a_manager_renews_through_the_session(token_server: TokenServer) -> None:
    asked: list[requests.Session] = []

    def transport() -> requests.Session:
        asked.append(own())
        return asked[-1]

    manager = manager_of(token_server, grant=grant_of(token_server, transport=transport))

    manager.token()
    manager.refresh()
    manager.revoke()

    # one per request: two grants, and two tokens to revoke
    assert len(asked) == 2 + 2


@pytest.mark.parametrize("trouble", [Answer(503), Answer(200), Reset(), None], ids=repr)
def test_an_error_leaves_no_frame_that_holds_the_password(
    token_server: TokenServer, trouble: Behaviour | None
) -> None:  # S10
    if trouble is not None:
        token_server.token_endpoint.answer_always(trouble)
    grant = grant_of(token_server, transport=leaky if trouble is None else own)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(TokenError):
            grant.request()
        frames = [it for it in gc.get_objects() if isinstance(it, types.FrameType)]
    finally:
        gc.enable()

    grants = "/evertoken/grants/"
    assert [it for it in frames if grants in it.f_code.co_filename] == []
