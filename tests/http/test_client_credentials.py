"""The client credentials grant: its form, its client authentication and its identity."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evertoken import ClientCredentialsGrant, GrantRefused, GrantUnavailable, MemoryStore
from evertoken.credentials import read
from support.http_clients import WAIT, manager_of
from support.logs import warned
from support.values import pickled

if TYPE_CHECKING:
    from typing import Any

    from evertoken import TokenManager
    from evertoken.testing import TokenServer

URL = "https://id.example.com/token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def grant_of(server: TokenServer, **options: Any) -> ClientCredentialsGrant:
    """A grant with the server's client, unless another proof is given."""
    if "client_assertion" not in options:
        options.setdefault("client_secret", server.client_secret)
    return ClientCredentialsGrant(
        server.token_url, client_id=server.client_id, deadline=WAIT, **options
    )


def posted(server: TokenServer) -> dict[str, str]:
    """The form of the last request."""
    return {name: values[0] for name, values in server.requests[-1].form.items()}


# -- what is posted --------------------------------------------------------------------------------


def test_a_grant_posts_the_client_and_no_user(token_server: TokenServer) -> None:
    token = grant_of(token_server, scope="read", extra={"audience": "api"}).request()
    assert posted(token_server) == {
        "grant_type": "client_credentials",
        "client_id": token_server.client_id,
        "client_secret": token_server.client_secret,
        "scope": "read",
        "audience": "api",
    }
    assert token.refresh_token is None


@pytest.mark.parametrize("method", ["basic", "basic-raw"])
def test_with_http_basic_the_body_has_no_client(
    token_server: TokenServer, method: str
) -> None:  # S4
    token_server.basic_auth = "encoded" if method == "basic" else "raw"
    grant_of(token_server, client_auth=method).request()
    assert posted(token_server) == {"grant_type": "client_credentials"}


def test_an_assertion_is_posted_instead_of_the_secret(token_server: TokenServer) -> None:
    grant_of(token_server, client_assertion=lambda: token_server.client_secret).request()
    assert posted(token_server) == {
        "grant_type": "client_credentials",
        "client_id": token_server.client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": token_server.client_secret,
    }


def test_an_assertion_overrides_client_auth(token_server: TokenServer) -> None:  # S4
    grant = grant_of(
        token_server, client_assertion=lambda: token_server.client_secret, client_auth="basic"
    )
    grant.request()
    assert "Authorization" not in token_server.requests[-1].headers


def test_a_file_is_read_at_each_grant(token_server: TokenServer, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("outdated\n")
    grant = grant_of(token_server, client_assertion=path)
    with pytest.raises(GrantRefused):
        grant.request()
    path.write_text(f"{token_server.client_secret}\n")
    assert grant.request().value


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"], ids=["missing", "empty", "binary"])
def test_a_file_that_cannot_be_read_is_named(
    token_server: TokenServer, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GrantUnavailable, match="could not read the client_") as caught:
        grant_of(token_server, client_assertion=path).request()
    assert caught.value.local
    assert caught.value.__context__ is None
    assert token_server.requests == ()


# -- whose it is, and what is remembered -----------------------------------------------------------


def test_the_client_is_the_identity(token_server: TokenServer) -> None:
    key = grant_of(token_server).key
    assert (key.client_id, key.username) == (token_server.client_id, None)
    assert key != grant_of(token_server, scope="read").key
    assert key != grant_of(token_server, extra={"resource": "https://api.example"}).key


def refusing_manager(server: TokenServer, **options: Any) -> TokenManager:
    """A manager whose client the server refuses."""
    server.refuse("invalid_client", status=401)
    return manager_of(server, grant=grant_of(server, **options))


def refused(manager: TokenManager) -> None:
    """The error of a second call after a refusal."""
    for _ in range(2):
        with pytest.raises(GrantRefused):
            manager.token()


def test_a_refused_assertion_is_posted_once_although_it_is_signed_each_time(  # S48
    token_server: TokenServer,
) -> None:
    numbers = itertools.count()
    manager = refusing_manager(
        token_server, client_assertion=lambda: f"signed-number-{next(numbers)}"
    )
    refused(manager)
    again = read(manager.grant)
    assert again.fingerprint == read(manager.grant).fingerprint
    assert token_server.token_requests == 1


def test_changed_content_of_a_file_is_another_credential(  # S48
    token_server: TokenServer, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("one-assertion")
    grant = grant_of(token_server, client_assertion=path)
    before = grant.read().fingerprint
    path.write_text("another-assertion")
    assert grant.read().fingerprint != before


def test_another_callable_does_not_receive_the_token_of_the_first(  # S50
    token_server: TokenServer,
) -> None:
    memory = MemoryStore()

    def manager(secret: str) -> TokenManager:
        made = manager_of(
            token_server, grant=grant_of(token_server, client_assertion=lambda: secret)
        )
        return type(made)(made.grant, memory=memory)

    manager(token_server.client_secret).token()
    with pytest.raises(GrantRefused):
        manager("forged-assertion").token()


@pytest.mark.parametrize("kind", ["file", "callable"])
def test_equal_sources_share_a_token(token_server: TokenServer, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "token"
    path.write_text(token_server.client_secret)
    source = path if kind == "file" else path.read_text
    memory = MemoryStore()
    for _ in range(2):
        grant = grant_of(token_server, client_assertion=source)
        type(manager_of(token_server))(grant, memory=memory).token()
    assert token_server.grants == 1


def test_a_file_pickles_and_a_literal_secret_does_not(tmp_path: Path) -> None:  # F7
    path = tmp_path / "token"
    path.write_text("an-assertion")
    grant = ClientCredentialsGrant(URL, client_id="c", client_assertion=path)
    assert pickled(grant).read().fingerprint == grant.read().fingerprint
    assert pickled(grant).key == grant.key
    with pytest.raises(TypeError, match="client_secret as text does not pickle"):
        pickled(ClientCredentialsGrant(URL, client_id="c", client_secret="planted-secret"))


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({}, ValueError, "give a client_secret or a client_assertion"),
        ({"client_secret": ""}, ValueError, "give a client_secret or a client_assertion"),
        (
            {"client_secret": "s", "client_assertion": Path("p")},
            ValueError,
            "exclude each other",
        ),
        ({"client_assertion": "text"}, TypeError, "a callable or the path of a file"),
        ({"client_secret": "s", "timeout": 0}, ValueError, "timeout must be seconds"),
        ({"client_secret": "s", "username": "u"}, TypeError, "username"),
    ],
)
def test_meaningless_options_are_rejected(
    options: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        ClientCredentialsGrant(URL, client_id="c", **options)


def test_a_refusal_names_the_client_and_what_to_check(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:  # S64
    manager = refusing_manager(token_server)
    token_server.refuse("invalid_grant")
    with pytest.raises(GrantRefused, match="check the client's credentials") as caught:
        manager.token()
    assert token_server.client_id in str(caught.value)
    [warning] = warned(caplog)
    assert token_server.token_url in warning.getMessage()
