"""Token requests on the wire (RFC 6749 sections 2.3, 3.2, 4.3)."""

from __future__ import annotations

import base64
import contextlib
import gc
import os
import types
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evertoken import GrantRefused, GrantUnavailable, InsecureURL, PasswordGrant, TokenError
from evertoken.testing import Answer, Delay, Reset, TokenServer
from support.http_clients import grant_of, manager_of
from support.scanner import Scanner, texts_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any, Literal

    from evertoken.testing import Behaviour, Recorded

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
URL = "https://api.example.com/oauth/token/"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


def made(token_url: Any = URL, **changes: Any) -> PasswordGrant:
    """A grant that sends nothing; any argument may be replaced, even by an invalid one."""
    return PasswordGrant(
        token_url, **{"client_id": "c", "username": "u", "password": "p", **changes}
    )


def parameters(request: Recorded) -> list[tuple[str, str]]:
    return parse_qsl(
        request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
    )


def test_a_grant_is_a_form_sent_by_post(token_server: TokenServer) -> None:  # S1
    token = grant_of(token_server).request()

    (request,) = token_server.requests
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert dict(parameters(request))["grant_type"] == "password"
    assert token.value in token_server.secrets


def test_the_query_of_the_token_url_is_kept(token_server: TokenServer) -> None:  # S1
    url = f"{token_server.token_url}?tenant=a%20b&again=1&again=2"

    grant_of(token_server, token_url=url).request()

    assert token_server.requests[0].query == "tenant=a%20b&again=1&again=2"


@pytest.mark.parametrize("url", [f"{URL}#", f"{URL}#part"])
def test_a_fragment_is_refused(url: str) -> None:  # S1
    with pytest.raises(ValueError, match="fragment"):
        made(url)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(username=ANY_TEXT, password=ANY_TEXT, client_id=ANY_TEXT, client_secret=ANY_TEXT)
@example("a b", "p+q&r=s%25;é", "ключ", "\x00\r\n\x7f")
@example("\u2028", "\ufeff", "\U0001f511", "\u0301e")
def test_any_unicode_arrives_byte_for_byte(
    shared_server: TokenServer, username: str, password: str, client_id: str, client_secret: str
) -> None:  # S2
    shared_server.username, shared_server.password = username, password
    shared_server.client_id, shared_server.client_secret = client_id, client_secret

    grant_of(shared_server).request()

    assert parameters(shared_server.requests[-1]) == [
        ("grant_type", "password"),
        ("username", username),
        ("password", password),
        ("client_id", client_id),
        ("client_secret", client_secret),
    ]


def test_the_form_is_encoded_as_the_standard_says(token_server: TokenServer) -> None:  # S2
    token_server.password = "a b+c&d=é%"

    grant_of(token_server).request()

    assert b"&password=a+b%2Bc%26d%3D%C3%A9%25&" in token_server.requests[0].body


@pytest.mark.parametrize("name", ["client_id", "client_secret", "username", "password"])
def test_text_that_is_not_valid_unicode_is_rejected_without_being_shown(
    token_server: TokenServer, name: str
) -> None:  # S2
    broken = "tr\udce9sor-secret"
    credentials = {"client_secret": "s", name: broken}
    grant = made(token_server.token_url, client_auth="basic", **credentials)

    with pytest.raises(GrantUnavailable, match=f"the {name} is not valid Unicode") as caught:
        grant.request()

    assert "sor-secret" not in repr(caught.value)
    assert caught.value.__context__ is None
    assert token_server.requests == ()


@pytest.mark.parametrize("client_auth", ["body", "basic"])
@pytest.mark.parametrize("scope", [None, "", "read"])
def test_no_parameter_comes_twice_or_empty(
    token_server: TokenServer, client_auth: Literal["body", "basic"], scope: str | None
) -> None:  # S3
    grant = grant_of(token_server, scope=scope, client_auth=client_auth)

    grant.revoke(grant.request())

    for request in token_server.requests:
        names = [name for name, _ in parameters(request)]
        assert len(names) == len(set(names))
        assert all(value for _, value in parameters(request))
    assert ("scope" in dict(parameters(token_server.requests[0]))) is bool(scope)


@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_a_public_client_sends_its_id_and_no_secret(
    client_auth: Literal["body", "basic"],
) -> None:  # S3, S4
    with TokenServer(client_secret="") as server:
        grant = grant_of(server, client_secret="", client_auth=client_auth)

        grant.revoke(grant.request())

        for request in server.requests:
            assert request.form["client_id"] == [server.client_id]
            assert "client_secret" not in request.form
            assert "Authorization" not in request.headers


@pytest.fixture
def netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A `.netrc` with a login for every host of a test, as a developer may have."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login ann password planted\ndefault login bob password b\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


@pytest.mark.usefixtures("netrc")
def test_credentials_in_the_body_are_the_only_client_authentication(
    token_server: TokenServer,
) -> None:  # S4, F26
    grant = grant_of(token_server)

    grant.revoke(grant.request())

    assert len(token_server.requests) == 3
    for request in token_server.requests:
        assert "Authorization" not in request.headers
        assert request.form["client_secret"] == [token_server.client_secret]


@pytest.mark.usefixtures("netrc")
def test_http_basic_is_the_only_client_authentication(
    token_server: TokenServer,
) -> None:  # S4, F26
    grant = grant_of(token_server, client_auth="basic")
    pair = f"{token_server.client_id}:{token_server.client_secret}"

    grant.revoke(grant.request())

    assert len(token_server.requests) == 3
    for request in token_server.requests:
        assert request.headers.get_all("Authorization") == [
            f"Basic {base64.b64encode(pair.encode()).decode()}"
        ]
        assert not {"client_id", "client_secret"} & set(request.form)


def test_with_basic_id_and_secret_are_form_encoded_first(token_server: TokenServer) -> None:  # S5
    token_server.client_id, token_server.client_secret = "a:b %é", "c:d+&\u20ac"

    token = grant_of(token_server, client_auth="basic").request()

    sent = token_server.requests[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"a%3Ab+%25%C3%A9:c%3Ad%2B%26%E2%82%AC"
    assert token.value in token_server.secrets


def test_no_secret_is_in_a_request_line(token_server: TokenServer) -> None:  # S6
    for client_auth in ("body", "basic"):
        grant = grant_of(token_server, client_auth=client_auth)
        grant.revoke(grant.request())
    token_server.refuse("invalid_grant")
    with pytest.raises(GrantRefused):
        grant_of(token_server).request()

    for request in token_server.requests:
        for secret in token_server.secrets:
            assert quote(secret) not in f"{request.path}?{request.query}"


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/oauth/token/",
        "http://localhost.example.com/oauth/token/",
        "http://127.0.0.1.example.com/oauth/token/",
        "http://10.0.0.1/oauth/token/",
        "http://[fe80::1]/oauth/token/",
        "HTTP://api.example.com/oauth/token/",
        "ftp://api.example.com/",
        "api.example.com/oauth/token/",
        "/oauth/token/",
        "https:///oauth/token/",
    ],
)
@pytest.mark.parametrize("which", ["token_url", "revoke_url"])
def test_a_plain_http_url_is_rejected(url: str, which: str) -> None:  # S8
    with pytest.raises(InsecureURL, match=which):
        made(**{which: url})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8/t", "http://127.9.9.9/t", "http://localhost/t", "http://[::1]/t"]
)
def test_plain_http_to_loopback_is_allowed(url: str) -> None:  # S8
    grant = made(url, revoke_url=url)

    assert (grant.token_url, grant.revoke_url) == (url, url)


def test_plain_http_can_be_allowed() -> None:  # S8
    url = "http://tokens.internal/oauth/token/"
    grant = made(url, revoke_url=url, allow_http=True)

    assert (grant.token_url, grant.revoke_url) == (url, url)


def backwards(text: str) -> Callable[[], str]:
    """A callable from which `text` cannot be read without calling it."""
    hidden = text[::-1]
    return lambda: hidden[::-1]


@pytest.mark.parametrize("ending", ["granted", "refused", "unavailable", "garbage"])
def test_a_password_from_a_callable_is_not_kept(
    token_server: TokenServer, ending: str
) -> None:  # S10
    planted = "pass wörd/of-the-callable"
    token_server.password = planted if ending != "refused" else "another"
    if ending in {"unavailable", "garbage"}:
        token_server.token_endpoint.answer_always(Answer(503 if ending == "unavailable" else 200))
    grant = grant_of(token_server, password=backwards(planted))
    manager = manager_of(token_server, grant=grant)

    try:
        manager.token()
    except TokenError as error:
        held: list[object] = [manager, error.with_traceback(None)]
    else:
        held = [manager]

    assert token_server.token_url in texts_on(held), "the search must reach what is kept"
    assert Scanner(password=planted).found_on(*held) == []


@pytest.mark.parametrize("answer", [Answer(503), Answer(400), Answer(200), Reset()], ids=repr)
def test_an_error_leaves_no_frame_that_holds_the_password(
    token_server: TokenServer, answer: Behaviour
) -> None:  # S10
    token_server.token_endpoint.answer_always(answer)
    grant = grant_of(token_server)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(TokenError):
            grant.request()
        frames = [it for it in gc.get_objects() if type(it) is types.FrameType]
    finally:
        gc.enable()

    assert [it for it in frames if it.f_code is PasswordGrant.request.__code__] == []


def test_callables_are_called_at_each_grant(token_server: TokenServer) -> None:  # S10
    passwords = iter([token_server.password, "later"])
    grant = grant_of(token_server, password=lambda: next(passwords))

    grant.request()
    token_server.change_password("later")
    grant.request()

    assert token_server.grants == 2


def test_an_error_of_a_callable_is_named_only_by_its_type(token_server: TokenServer) -> None:
    def broken() -> str:
        raise LookupError("no such secret: planted")

    with pytest.raises(
        GrantUnavailable, match="could not read the password: its callable raised LookupError"
    ) as caught:
        grant_of(token_server, password=broken).request()

    assert "planted" not in repr(caught.value)
    assert caught.value.__context__ is caught.value.__cause__ is None


@pytest.mark.parametrize("nothing", ["", None, 7])
def test_a_callable_that_returns_no_text_names_the_credential(
    token_server: TokenServer, nothing: object
) -> None:
    def empty() -> str:
        return nothing  # type: ignore[return-value]  # what a user's callable may really do

    with pytest.raises(GrantUnavailable, match="could not read the username"):
        grant_of(token_server, username=empty).request()


def test_a_callable_may_raise_the_librarys_own_errors(token_server: TokenServer) -> None:
    def unset() -> str:
        raise GrantUnavailable("set SQUADRUN_PASSWORD", transient=True)

    with pytest.raises(GrantUnavailable, match=r"^set SQUADRUN_PASSWORD$"):
        grant_of(token_server, password=unset).request()


@pytest.mark.parametrize("scope", ["read", "read write", "a!#$%&'()*+,-./:;<=>?@[]^_`{|}~z"])
def test_a_valid_scope_is_sent_as_given(token_server: TokenServer, scope: str) -> None:  # S13
    token_server.scope = scope

    assert grant_of(token_server, scope=scope).request().scope == scope
    assert token_server.requests[0].form["scope"] == [scope]


@pytest.mark.parametrize(
    "scope", ['say "hi"', "back\\slash", " read", "read ", "a  b", "a\tb", "a\nb", "é", "a\x7f"]
)
def test_an_invalid_scope_is_rejected(scope: str) -> None:  # S13
    with pytest.raises(ValueError, match="scope"):
        made(scope=scope)


def test_a_different_granted_scope_is_available(token_server: TokenServer) -> None:  # S13
    token_server.extra = {"scope": "read"}
    manager = manager_of(token_server, grant=grant_of(token_server, scope="read write"))

    assert manager.token().scope == "read"
    assert manager.status().scope == "read"


def test_age_counts_from_before_the_request(token_server: TokenServer) -> None:  # S26
    token_server.token_endpoint.answer_always(Delay(0.1))

    asked_alone = grant_of(token_server).request()
    managed = manager_of(token_server).token()

    arrivals = [request.at for request in token_server.requests]
    assert asked_alone.issued_at <= arrivals[0]
    assert managed.issued_at <= arrivals[1]
    assert managed.expires_at == pytest.approx(managed.issued_at + 36_000)


@pytest.mark.parametrize("name", ["timeout", "deadline", "default_lifetime"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_times_must_be_seconds(name: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=name):
        made(**{name: seconds})


@pytest.mark.parametrize("name", ["client_id", "username", "password"])
def test_an_empty_credential_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is empty"):
        made(**{name: ""})


def test_a_credential_must_be_text_or_a_callable() -> None:
    with pytest.raises(TypeError, match="password must be text or a callable"):
        made(password=b"p")


def test_client_authentication_is_one_of_three() -> None:
    with pytest.raises(ValueError, match='"body", "basic" or "basic-raw"'):
        made(client_auth="header")


def test_a_url_with_a_login_is_refused() -> None:
    with pytest.raises(ValueError, match="login") as caught:
        made("https://ann:planted@api.example.com/t")

    assert "planted" not in str(caught.value)


def test_names_come_from_the_environment_at_each_grant(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERTOKEN_TEST_USER", token_server.username)
    grant = grant_of(token_server, username=lambda: os.environ["EVERTOKEN_TEST_USER"])

    assert grant.key.username == token_server.username
