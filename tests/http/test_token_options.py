"""Options that token endpoints need: parameters, headers, client authentication, lifetimes."""

from __future__ import annotations

import base64
import functools
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evertoken import (
    GrantRefused,
    GrantUnavailable,
    PasswordGrant,
    RevocationFailed,
    TokenError,
    TokenKey,
)
from evertoken.grants.masking import WITHHELD
from evertoken.testing import Answer, TokenServer
from support.http_clients import grant_of, manager_of
from support.logs import warned
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from evertoken.grants.client_auth import ClientAuth
    from evertoken.grants.credentials import Secret
    from evertoken.testing import Recorded

URL = "https://api.example.com/oauth/token/"


def made(**options: Any) -> PasswordGrant:
    """A grant that sends nothing."""
    return PasswordGrant(URL, **{"client_id": "c", "username": "u", "password": "p", **options})


def sent(server: TokenServer) -> Recorded:
    return server.requests[-1]


# --- form parameters ------------------------------------------------------------------------------


def test_extra_parameters_are_posted_only_with_a_grant(token_server: TokenServer) -> None:
    extra = {"audience": "https://api/?a=b&c", "resource": "é", "realm": "a b"}
    grant = grant_of(token_server, extra=extra)

    grant.revoke(grant.request())

    posted, *revocations = token_server.requests
    assert {name: posted.form[name] for name in extra} == {k: [v] for k, v in extra.items()}
    assert all(not extra.keys() & request.form.keys() for request in revocations)


@pytest.mark.parametrize(
    "name",
    [
        *("grant_type", "client_id", "client_secret", "username", "password", "scope"),
        *("refresh_token", "", "a b", "é", "a:b", "a\n"),
    ],
)
def test_a_reserved_or_invalid_parameter_name_is_rejected(name: str) -> None:  # S3
    with pytest.raises(ValueError, match="extra"):
        made(extra={name: "x"})


def test_an_empty_parameter_is_rejected() -> None:  # S3
    with pytest.raises(ValueError, match="extra audience is empty"):
        made(extra={"audience": ""})


def test_another_audience_is_another_identity() -> None:  # S49
    keys = {
        made(extra=extra).key.digest()
        for extra in (None, {"audience": "a"}, {"audience": "b"}, {"resource": "a"})
    }
    assert len(keys) == 4
    assert made(extra={}).key == made().key


texts = st.text(st.sampled_from("a:'\",() \\"), min_size=1, max_size=3)
names = st.text(st.sampled_from("a'\",()x-"), min_size=1, max_size=3)
parts = st.fixed_dictionaries(
    {
        "client_id": st.none() | texts,
        "username": texts,
        "scope": st.none() | st.sampled_from(["a", "x", "a x"]),
        "extra": st.dictionaries(names, texts, max_size=2),
        "headers": st.dictionaries(st.sampled_from(["X-a", "x'"]), st.sampled_from(["a", "a:a"])),
    }
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(parts, parts)
def test_two_grants_share_an_identity_only_if_they_request_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:  # S49
    assert (made(**one).key.digest() == made(**other).key.digest()) is (one == other)


def test_a_grant_without_these_options_keeps_its_identity() -> None:  # S49
    # a new field must not rename the files of users without it
    assert made(scope="read").key.digest() == "30be2b84fc8c1bfedd29ecacaf0500be"
    assert made(headers={"User-Agent": "x"}).key == TokenKey(URL, "c", "u")


def test_a_parameter_from_a_callable_is_read_at_each_grant_and_kept_secret(
    token_server: TokenServer,
) -> None:  # S10, S55
    passwords = (f"planted-otp-{number}" for number in itertools.count())
    grant = grant_of(token_server, extra={"otp": lambda: next(passwords)})
    before = grant.key

    grant.request()
    grant.request()
    echo = base64.b64encode(b"no planted-otp-2").decode()
    token_server.refuse("invalid_grant", description=echo)
    with pytest.raises(GrantRefused) as caught:
        grant.request()

    posted = [request.form["otp"] for request in token_server.requests]
    assert posted == [["planted-otp-0"], ["planted-otp-1"], ["planted-otp-2"]]
    assert caught.value.description == WITHHELD
    # the same account with or without it
    assert grant.key == before == grant_of(token_server).key


def test_a_new_one_time_password_does_not_lift_a_refusal(token_server: TokenServer) -> None:
    # otherwise each reading of the credentials would post the wrong password again
    passwords = (str(number) for number in itertools.count(100_000))
    grant = grant_of(token_server, extra={"otp": lambda: next(passwords)}, password="wrong")
    manager = manager_of(token_server, grant=grant)

    for _ in range(3):
        with pytest.raises(GrantRefused):
            manager.token()

    assert token_server.token_requests == 1
    assert grant.credentials_tag(b"salt") == grant.credentials_tag(b"salt")


# --- header fields --------------------------------------------------------------------------------


def test_headers_go_to_both_endpoints(token_server: TokenServer) -> None:
    headers: Mapping[str, Secret] = {
        "User-Agent": "my-app/1.0",
        "X-Tenant": lambda: "acme",
        "accept": "*/*",
    }
    grant = grant_of(token_server, headers=headers)

    grant.revoke(grant.request())

    assert len(token_server.requests) == 3
    for request in token_server.requests:
        assert request.headers.get_all("User-Agent") == ["my-app/1.0"]
        assert request.headers.get_all("X-Tenant") == ["acme"]
        assert request.headers.get_all("Accept") == ["*/*"]


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "authorization", "Proxy-Authorization", "Content-Type"),
        *("Content-Length", "Transfer-Encoding", "Accept-Encoding", "", "a b", "a:", "é", "a\r\nb"),
    ],
)
def test_a_reserved_or_invalid_header_name_is_rejected(name: str) -> None:  # S4
    with pytest.raises(ValueError, match="headers"):
        made(headers={name: "planted"})


def test_a_repeated_header_is_rejected() -> None:
    with pytest.raises(ValueError, match="twice"):
        made(headers={"X-Tenant": "a", "x-tenant": "b"})


BAD_VALUES = ["a\r\nX: y", "a\n", "\0", "é", " a", "a ", "\x7f", "planted\u20ac"]


@pytest.mark.parametrize("value", BAD_VALUES, ids=ascii)
def test_an_invalid_header_value_is_rejected_without_being_shown(
    token_server: TokenServer, value: str
) -> None:
    with pytest.raises(ValueError, match="header X-Key: its value must be") as caught:
        made(headers={"X-Key": value})
    with pytest.raises(GrantUnavailable, match="header X-Key: its value must be") as read:
        grant_of(token_server, headers={"X-Key": lambda: value}).request()

    assert "planted" not in f"{caught.value!r} {read.value!r}"
    assert read.value.local
    assert token_server.requests == ()


def test_another_tenant_is_another_identity(token_server: TokenServer) -> None:  # S49, S50
    tenants = ["acme", "umbrella"]
    grants = [grant_of(token_server, headers={"X-Tenant": tenant}) for tenant in tenants]
    called = [
        grant_of(token_server, headers={"x-tenant": functools.partial(str, it)}) for it in tenants
    ]

    assert len({grant.key for grant in (*grants, grant_of(token_server))}) == 3
    assert [grant.key for grant in called] == [grant.key for grant in grants]
    assert not any(tenant in repr(grant.key) for grant in grants for tenant in tenants)


def test_a_header_that_describes_the_client_is_not_part_of_the_identity() -> None:
    described = {"User-Agent": "my-app/2", "Accept": "*/*", "accept-language": "de"}
    assert made(headers=described).key == made().key


API_KEY = "planted-api-key"


@pytest.mark.parametrize("value", [API_KEY, lambda: API_KEY], ids=["text", "callable"])
@pytest.mark.parametrize(
    "echo", [API_KEY, base64.b64encode(API_KEY.encode()).decode(), "planted%252Dapi%252Dkey"]
)
def test_a_header_echoed_by_the_server_is_masked(
    token_server: TokenServer, value: Secret, echo: str
) -> None:  # S55
    grant = grant_of(token_server, headers={"X-Api-Key": value})
    token = grant.request()
    answer = Answer.error("invalid_request", description=f"what is {echo}?")
    token_server.token_endpoint.answer_always(answer)
    token_server.revocation_endpoint.answer_always(answer)
    errors: list[TokenError] = []
    for call in (grant.request, lambda: grant.revoke(token)):
        with pytest.raises((GrantUnavailable, RevocationFailed)) as caught:
            call()
        errors.append(caught.value)

    assert len(errors) == 2
    for error in errors:
        assert Scanner(api_key=API_KEY).found_on(error) == []
        assert echo not in f"{error!r} {vars(error)}"


def test_a_short_header_does_not_keep_the_servers_words_from_being_quoted(
    token_server: TokenServer,
) -> None:
    token_server.refuse("invalid_grant", description="User 7 is locked.")

    with pytest.raises(GrantRefused) as caught:
        grant_of(token_server, headers={"X-Shard": "7", "User-Agent": "locked"}).request()

    assert caught.value.description == "User 7 is locked."


# --- client authentication ------------------------------------------------------------------------

CLIENT, SECRET = "my client", "s%3A:e+cr/et&é"


def basic_of(server: TokenServer) -> bytes:
    return base64.b64decode(sent(server).headers["Authorization"].removeprefix("Basic "))


def test_raw_credentials_are_sent_as_they_are() -> None:  # S5
    with TokenServer(client_id=CLIENT, client_secret=SECRET) as server:
        server.basic_auth = "raw"
        grant = grant_of(server, client_auth="basic-raw")

        grant.revoke(grant.request())

        assert basic_of(server) == f"{CLIENT}:{SECRET}".encode()
        assert not {"client_id", "client_secret"} & sent(server).form.keys()


@pytest.mark.parametrize("name", ["text", "callable"])
def test_a_client_id_with_a_colon_cannot_be_sent_raw(token_server: TokenServer, name: str) -> None:
    client_id: Secret = "a:b" if name == "text" else lambda: "a:b"

    with pytest.raises(GrantUnavailable, match='client_auth="basic"') as caught:
        grant_of(token_server, client_id=client_id, client_auth="basic-raw").request()

    assert caught.value.local
    assert token_server.requests == ()


@pytest.mark.parametrize(
    ("client_auth", "secret", "hint"),
    [
        ("body", SECRET, 'or the server wants them by HTTP Basic: client_auth="basic"'),
        ("basic", SECRET, 'many servers do, this one wants them raw: client_auth="basic-raw"'),
        ("basic", "plain", 'or the server wants them in the body: client_auth="body"'),
        ("basic-raw", SECRET, 'wants them encoded, as RFC 6749 says: client_auth="basic"'),
        ("basic-raw", "plain", 'or the server wants them in the body: client_auth="body"'),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        Answer.error("invalid_client", status=401),
        Answer.error("invalid_client", status=400),
        Answer(401, {"WWW-Authenticate": "Basic"}),
    ],
    ids=["invalid_client", "as a 400", "without a code"],
)
def test_the_error_of_an_unknown_client_proposes_the_other_method(
    token_server: TokenServer, client_auth: ClientAuth, secret: str, hint: str, answer: Answer
) -> None:
    token_server.token_endpoint.answer_always(answer)

    with pytest.raises(TokenError) as caught:
        grant_of(
            token_server, client_id="client", client_secret=secret, client_auth=client_auth
        ).request()

    assert hint in str(caught.value)


def test_nothing_is_proposed_to_a_public_client_or_for_a_wrong_password(
    token_server: TokenServer,
) -> None:
    token_server.refuse("invalid_client", status=401)
    with pytest.raises(GrantRefused) as public:
        grant_of(token_server, client_secret="").request()
    token_server.refuse("invalid_grant", status=401)
    with pytest.raises(GrantRefused) as password:
        grant_of(token_server).request()

    assert "client_auth=" not in f"{public.value} {password.value}"


def test_a_server_may_require_no_client() -> None:
    with TokenServer(client_id="", client_secret="") as server:
        grant = PasswordGrant(
            server.token_url,
            username=server.username,
            password=server.password,
            revoke_url=server.revoke_url,
        )
        manager = manager_of(server, grant=grant)

        manager.token()
        manager.revoke()

        assert [set(request.form) for request in server.requests] == [
            {"grant_type", "username", "password"},
            {"token", "token_type_hint"},
            {"token", "token_type_hint"},
        ]
        assert all("Authorization" not in request.headers for request in server.requests)
        assert grant.key == TokenKey(server.token_url, username=server.username)


def test_a_secret_needs_an_id() -> None:
    with pytest.raises(ValueError, match="a client_secret needs a client_id"):
        made(client_id=None, client_secret="s")


# --- lifetimes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("expires_in", [0, -1, "never", None, 3600, "0"], ids=repr)
def test_a_configured_lifetime_overrides_the_servers(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture, expires_in: int | str | None
) -> None:
    token_server.extra = {"expires_in": expires_in}

    token = grant_of(token_server, lifetime=7200, default_lifetime=5).request()

    assert token.lifetime == pytest.approx(7200)
    assert warned(caplog) == []


def test_a_server_whose_zero_means_never_costs_one_grant(token_server: TokenServer) -> None:
    token_server.extra = {"expires_in": 0}
    manager = manager_of(token_server, grant=grant_of(token_server, lifetime=86_400))

    for _ in range(3):
        manager.token()

    assert token_server.grants == 1


def test_the_error_about_a_zero_lifetime_names_the_remedy(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    token_server.expires_in = 0

    assert grant_of(token_server).request().lifetime == 0

    (warning,) = warned(caplog)
    assert "set lifetime=" in warning.getMessage()


@pytest.mark.parametrize(
    ("told", "options", "lifetime"),
    [
        (36_000, {"max_lifetime": 600}, 600),
        (60, {"max_lifetime": 600}, 60),
        (None, {"max_lifetime": 600, "default_lifetime": 900}, 600),
        (60, {"max_lifetime": 600, "lifetime": 900}, 600),
    ],
)
def test_a_lifetime_can_be_capped(
    token_server: TokenServer, told: int | None, options: dict[str, Any], lifetime: float
) -> None:
    token_server.extra = {"expires_in": told}

    assert grant_of(token_server, **options).request().lifetime == pytest.approx(lifetime)


@pytest.mark.parametrize("name", ["lifetime", "max_lifetime"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 400 * 86_400])
def test_a_lifetime_must_be_seconds_of_a_year_at_most(name: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be seconds"):
        made(**{name: seconds})
