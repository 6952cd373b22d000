"""A server that echoes secrets, escaped: no error, log or file shows them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode

import pytest

from evertoken import FileStore, GrantRefused, RevocationFailed, TokenError
from evertoken.grants.masking import WITHHELD
from evertoken.runtime import pool
from evertoken.testing import Answer, Gzip, TokenServer
from support.escapes import ESCAPES, FINAL, HARD
from support.fleet import BOUND
from support.http_clients import grant_of, manager_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

PASSWORD = HARD[0]
SECRET = 'client:secret%that&is"planted"'
MEBI = 1 << 20


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer(password=PASSWORD, client_secret=SECRET) as server:
        yield server


def everything_on(error: TokenError) -> str:
    return f"{error} {error!r} {vars(error)}"


def kept_in(folder: Path) -> str:
    """The text of all files, raw and decoded from JSON."""
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    return "\n".join([*texts, *(str(json.loads(text)) for text in texts if text)])


@pytest.mark.parametrize("name", [*ESCAPES, *FINAL])
def test_an_echoed_secret_is_in_no_exception_log_or_file(
    server: TokenServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:  # S55
    echo = {**ESCAPES, **FINAL}[name](PASSWORD)
    server.refuse("invalid_grant", description=f"cannot accept password={echo}")

    with pytest.raises(GrantRefused) as caught:
        manager_of(server, store=FileStore(tmp_path)).token()

    assert caught.value.error == "invalid_grant"
    # the refusal is saved after the waiting callers were released
    pool.finish(BOUND)
    kept = kept_in(tmp_path)
    assert "invalid_grant" in kept
    said = "\n".join(record.getMessage() for record in caplog.records)
    for form in (echo, PASSWORD, json.dumps(echo)[1:-1], ascii(echo)[1:-1]):
        assert form not in everything_on(caught.value) + kept + said


def test_the_basic_credentials_are_withheld_however_they_are_encoded(
    server: TokenServer,
) -> None:  # S55
    client = server.client_id
    for pair in (f"{client}:{SECRET}", f"{quote_plus(client)}:{quote_plus(SECRET)}"):
        encoded = base64.urlsafe_b64encode(pair.encode()).decode().rstrip("=")
        server.refuse("invalid_client", description=f"what is Authorization: Basic {encoded}")
        with pytest.raises(GrantRefused) as caught:
            grant_of(server, client_auth="basic").request()
        assert encoded not in everything_on(caught.value)


def test_an_echo_of_the_form_is_withheld(server: TokenServer) -> None:  # S55
    form = urlencode({"grant_type": "password", "username": "x" * 40, "password": PASSWORD})
    server.refuse("invalid_grant", description=base64.b64encode(form.encode()).decode())

    with pytest.raises(GrantRefused) as caught:
        grant_of(server).request()

    assert caught.value.description == WITHHELD


@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_an_unreadable_answer_shows_no_secret(
    server: TokenServer, client_auth: Literal["body", "basic"]
) -> None:  # S55
    for secret in (PASSWORD, SECRET):
        shown = "text/" + base64.b64encode(secret.encode()).decode()
        large = Answer(200, {"Content-Type": shown}, bytes(MEBI + 1))
        server.token_endpoint.answer_always(Gzip(large))
        with pytest.raises(TokenError, match="larger than") as caught:
            grant_of(server, client_auth=client_auth).request()
        assert caught.value.content_type is None
        assert shown not in everything_on(caught.value)


def test_the_content_type_of_an_unreadable_answer_is_named(
    server: TokenServer,
) -> None:
    large = Answer(200, {"Content-Type": "text/html; charset=utf-8"}, bytes(MEBI + 1))
    server.token_endpoint.answer_always(Gzip(large))
    with pytest.raises(TokenError, match="larger than") as caught:
        grant_of(server).request()
    assert caught.value.content_type == "text/html"


@pytest.mark.parametrize("name", ["HTML, decimal", "JSON", r"\x, all", "base64", "hexadecimal"])
def test_a_revocation_shows_no_token_and_no_client_secret(
    server: TokenServer, name: str
) -> None:  # S55
    grant = grant_of(server)
    for which in ("value", "refresh_token", "client_secret"):
        token = grant.request()
        secret = SECRET if which == "client_secret" else getattr(token, which)
        echo = ESCAPES[name](secret)
        answer = Answer.error("invalid_request", description=f"what is {echo}?")
        server.revocation_endpoint.answer_always(answer)
        with pytest.raises(RevocationFailed) as caught:
            grant.revoke(token)
        for form in (echo.strip('"'), secret):
            assert form not in everything_on(caught.value)


def test_a_granted_scope_that_repeats_a_secret_is_neither_kept_nor_shown(
    server: TokenServer, tmp_path: Path
) -> None:  # S55
    echo = quote_plus(quote_plus(PASSWORD))
    server.extra = {"scope": f"read {echo}"}
    manager = manager_of(server, store=FileStore(tmp_path))

    assert manager.token().scope is None
    assert manager.status().scope is None
    assert echo not in kept_in(tmp_path)
