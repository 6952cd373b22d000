"""Fixtures for tests over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests
import trustme

from evertoken import BearerAuth
from support.http_clients import Authority, clear_environment, manager_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evertoken import TokenManager
    from evertoken.testing import TokenServer


@pytest.fixture(autouse=True)
def bare_environment(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    no_floor: None,  # noqa: ARG001  for its effect
) -> None:
    """Remove the proxies, CA bundle and `.netrc` of the user who runs the tests."""
    clear_environment(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that is not trusted by default."""
    ca = trustme.CA()
    bundle = tmp_path_factory.mktemp("authority") / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    return Authority(ca, str(bundle))


@pytest.fixture
def manager(token_server: TokenServer) -> TokenManager:
    """A manager of `token_server`."""
    return manager_of(token_server)


@pytest.fixture
def auth(manager: TokenManager) -> BearerAuth:
    """The `auth=` of `manager`."""
    return BearerAuth(manager)


@pytest.fixture
def session(auth: BearerAuth) -> Iterator[requests.Session]:
    """A session with `auth`."""
    with requests.Session() as session:
        session.auth = auth
        yield session
