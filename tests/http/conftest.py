"""What tests over HTTP share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from evertoken.core import renewal
from support.http_clients import Authority

if TYPE_CHECKING:
    from pathlib import Path

_AMBIENT = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, CA bundle or `.netrc` of whoever runs the tests."""
    for name in (*_AMBIENT, *map(str.upper, _AMBIENT), *_BUNDLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that dies young is replaced at once, not a second after it was granted."""
    monkeypatch.setattr(renewal, "GRANT_FLOOR", 0.0)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that nobody trusts by himself."""
    ca = trustme.CA()
    bundle = tmp_path_factory.mktemp("authority") / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    return Authority(ca, str(bundle))
