"""The main use cases on Django OAuth Toolkit 1.3.3, since SquadRun's version is unknown."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import (
    BearerAuth,
    GrantRefused,
    InvalidTokenResponse,
    MemoryStore,
    PasswordGrant,
    squadrun,
)
from support.fleet import eventually
from support.own_environment import own_environment
from support.planted import CLIENT_SECRET, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken import Token, TokenManager

pytestmark = pytest.mark.slow

PACKAGES = (
    "django-oauth-toolkit==1.3.3",
    "oauthlib==3.1.0",
    # the last Django that this toolkit supports; runs on every Python that evertoken supports
    "django==4.2.30",
    # the toolkit imports pkg_resources, which later setuptools lack
    "setuptools<81",
)
EXPIRES_IN = 1234
CLIENT_ID = "old_client"
USERNAME = "old_api_user"

# by its path: an import would load Django into the process of all other tests
SITE = str(Path(__file__).parents[1] / "support" / "old_server.py")


class OldServer:
    """The running server and its output."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.base_url = f"http://127.0.0.1:{self._lines()[0]}"
        self.token_url = f"{self.base_url}/oauth/token/"

    @property
    def token_requests(self) -> int:
        return self._lines().count("POST /oauth/token/")

    def read(self, token: Token) -> requests.Response:
        """Request the protected resource."""
        headers = {"Authorization": f"Bearer {token.value}"}
        return requests.get(f"{self.base_url}/api/v4/leads/", headers=headers, timeout=30)

    def _lines(self) -> list[str]:
        return self._output.read_text().splitlines()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("SQUADRUN_TOKEN_DIR", raising=False)


@pytest.fixture(scope="session")
def old_python() -> Iterator[Path]:
    """The Python of a virtual environment that has the old toolkit."""
    with own_environment(*PACKAGES, what="old Django OAuth Toolkit") as python:
        yield python


@pytest.fixture(scope="session")
def server(old_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OldServer]:
    folder = tmp_path_factory.mktemp("old")
    output = folder / "output"
    # what Django 4.2 does, later Pythons warn about
    account = [CLIENT_ID, CLIENT_SECRET, USERNAME, PASSWORD]
    site = [SITE, str(folder / "db"), str(EXPIRES_IN), *account]
    with (
        output.open("wb") as stdout,
        subprocess.Popen([str(old_python), "-W", "ignore", *site], stdout=stdout) as process,  # noqa: S603  literals
    ):
        try:
            eventually(lambda: "\n" in output.read_text() or process.poll() is not None)
            assert process.poll() is None, "the server ended: see its standard error"
            yield OldServer(output)
        finally:
            process.kill()


def manager_of(
    server: OldServer,
    *,
    client_secret: str = CLIENT_SECRET,
    password: str = PASSWORD,
) -> TokenManager:
    """A manager that shares its token with no other."""
    return squadrun.manager(
        base_url=server.base_url,
        client_id=CLIENT_ID,
        client_secret=client_secret,
        username=USERNAME,
        password=password,
        memory=MemoryStore(),
    )


def end_behind_its_back(server: OldServer, token: Token) -> None:
    """Revoke `token` at the server without the managers' knowledge."""
    form = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "token": token.value,
    }
    url = f"{server.base_url}/oauth/revoke_token/"
    assert requests.post(url, data=form, timeout=30).status_code == 200


def refusals(manager: TokenManager) -> set[tuple[str | None, int | None]]:
    """Error and status of two calls."""
    errors = []
    for _ in range(2):
        with pytest.raises(GrantRefused) as raised:
            manager.token()
        errors.append(raised.value)
    return {(error.error, error.status) for error in errors}


def test_a_granted_token_is_accepted(server: OldServer) -> None:
    token = manager_of(server).token()

    assert token.lifetime == EXPIRES_IN
    assert token.scope == "read write"
    assert server.read(token).status_code == 200


def test_a_wrong_password_is_refused_and_remembered(server: OldServer) -> None:
    before = server.token_requests

    assert refusals(manager_of(server, password="wrong")) == {("invalid_grant", 400)}
    assert server.token_requests == before + 1


def test_a_wrong_client_secret_is_refused_and_remembered(server: OldServer) -> None:
    before = server.token_requests

    assert refusals(manager_of(server, client_secret="wrong")) == {("invalid_client", 401)}
    assert server.token_requests == before + 1


def test_a_dead_token_is_renewed_and_the_request_replayed(server: OldServer) -> None:
    manager = manager_of(server)
    first = manager.token()
    end_behind_its_back(server, first)
    url = f"{server.base_url}/api/v4/leads/"
    response = requests.get(url, auth=BearerAuth(manager), timeout=30)

    assert response.status_code == 200
    assert [answer.status_code for answer in response.history] == [401]
    assert manager.token() != first


def test_revocation_kills_the_token(server: OldServer) -> None:
    manager = manager_of(server)
    token = manager.token()
    manager.revoke()
    dead = server.read(token)

    assert dead.status_code == 401
    assert dead.headers["WWW-Authenticate"].startswith("Bearer")
    assert server.read(manager.token()).status_code == 200


def test_a_second_grant_leaves_the_first_token_alive(server: OldServer) -> None:
    first, second = manager_of(server).token(), manager_of(server).token()

    assert first.value != second.value
    assert [server.read(token).status_code for token in (first, second)] == [200, 200]


def test_a_missing_trailing_slash_is_suggested(server: OldServer) -> None:
    grant = PasswordGrant(
        server.token_url.rstrip("/"),
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        username=USERNAME,
        password=PASSWORD,
    )
    with pytest.raises(InvalidTokenResponse, match="seems to lack its last slash") as raised:
        grant.request()

    assert raised.value.status == 301
