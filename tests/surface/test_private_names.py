"""No private name of `requests`, `urllib3` or `redis` is needed: other versions may lack it.

Each test runs twice: normally, and in an interpreter with copies of these packages in which the
private names that the library uses are renamed.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis.sentinel
import requests
import trustme
import urllib3.connection

from evertoken import BearerAuth, GrantUnavailable, PasswordGrant, TokenError
from evertoken.stores.redis_client import maker
from evertoken.testing import Answer, Drip, TokenServer
from support.http_clients import WAIT, Authority, grant_of

if TYPE_CHECKING:
    from evertoken import TokenManager

COPIED = ("requests", "urllib3", "redis")
PRIVATE = r"_store|_body_position|_content|_cookies|_new_conn|_dns_host|_force_master_ip"
RENAMED = "PRIVATE_NAMES_RENAMED"

DEADLINE = 1.0


@pytest.fixture
def session(token_manager: TokenManager, token_server: TokenServer) -> requests.Session:
    session = requests.Session()
    session.auth = BearerAuth(token_manager, origins=[token_server.base_url])
    return session


def authorization(server: TokenServer) -> list[str | None]:
    """The `Authorization` of the API's requests so far."""
    return [
        each.headers.get("Authorization")
        for each in server.requests
        if each.path.startswith("/api")
    ]


@pytest.fixture
def sentinel() -> redis.sentinel.Sentinel:
    return redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
        [("127.0.0.1", 1)], force_master_ip="127.0.0.9"
    )


def test_this_interpreter_has_the_expected_private_names(
    sentinel: redis.sentinel.Sentinel,
) -> None:
    theirs = [
        (requests.structures.CaseInsensitiveDict(), "_store"),
        (requests.PreparedRequest(), "_body_position"),
        (requests.PreparedRequest(), "_cookies"),
        (requests.Response(), "_content"),
        (urllib3.connection.HTTPConnection, "_new_conn"),
        (urllib3.connection.HTTPConnection("localhost"), "_dns_host"),
        (sentinel, "_force_master_ip"),
    ]

    assert {hasattr(it, name) for it, name in theirs} == {RENAMED not in os.environ}


def test_a_request_carries_the_token_once(
    session: requests.Session, token_server: TokenServer, token_manager: TokenManager
) -> None:
    for _ in range(2):
        assert session.get(token_server.api_url, timeout=WAIT).status_code == 200

    assert authorization(token_server) == [token_manager.header()] * 2


def test_the_callers_own_header_is_replaced(
    session: requests.Session, token_server: TokenServer, token_manager: TokenManager
) -> None:  # S59
    session.get(token_server.api_url, headers={"authorization": "Basic own"}, timeout=WAIT)

    assert authorization(token_server) == [token_manager.header()]


def test_a_401_that_sets_a_cookie_is_answered_by_a_replay(
    session: requests.Session, token_server: TokenServer
) -> None:
    token_server.api.answer_next(Answer(401, {"Set-Cookie": "session=2; Path=/"}))
    session.cookies.set("kept", "1")

    session.get(token_server.api_url, timeout=WAIT)

    replayed = token_server.requests[-1].headers.get("Cookie")
    known = RENAMED not in os.environ
    assert replayed == ("kept=1; session=2" if known else "kept=1")


def test_a_401_is_answered_by_one_replay_with_another_token(
    session: requests.Session, token_server: TokenServer
) -> None:
    session.get(token_server.api_url, timeout=WAIT)
    token_server.revoke_all()
    answer = session.post(token_server.api_url, data=b"body", timeout=WAIT)

    assert answer.status_code == 200
    first, refused, replayed = authorization(token_server)
    assert first == refused != replayed
    assert [each.body for each in token_server.requests[-1:]] == [b"body"]


def test_a_body_of_a_file_is_sent_again_whole_or_not_at_all(
    session: requests.Session, token_server: TokenServer
) -> None:  # S35
    token_server.api.answer_next(Answer(401))
    body = io.BytesIO(b"read before, and the rest")
    body.seek(len("read before, "))

    answer = session.post(token_server.api_url, data=body, timeout=WAIT)

    sent = [each.body for each in token_server.requests if each.path.startswith("/api")]
    whole = RENAMED not in os.environ
    assert sent == [b"and the rest"] * (1 + whole)
    assert answer.status_code == (200 if whole else 401)


def test_an_error_has_neither_cause_nor_context(
    session: requests.Session, token_server: TokenServer
) -> None:
    token_server.refuse("invalid_grant")
    with pytest.raises(requests.RequestException) as caught:
        session.get(token_server.api_url, timeout=WAIT)

    assert isinstance(caught.value, TokenError)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_dripping_endpoint_is_abandoned_at_the_deadline(
    token_server: TokenServer,
) -> None:  # F17
    token_server.token_endpoint.answer_always(Drip(0.5))

    left_at_the_deadline(grant_of(token_server, deadline=DEADLINE))


def test_a_dripping_endpoint_over_tls_is_abandoned_at_the_deadline(tmp_path: Path) -> None:  # F17
    ca = trustme.CA()
    bundle = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    with TokenServer(ssl_context=Authority(ca, str(bundle)).context()) as server:
        server.token_endpoint.answer_always(Drip(0.5))

        left_at_the_deadline(grant_of(server, deadline=DEADLINE, verify=str(bundle)))


def left_at_the_deadline(grant: PasswordGrant) -> None:
    start = time.monotonic()
    with pytest.raises(GrantUnavailable, match="did not answer in full") as caught:
        grant.request()

    # the whole answer would take a minute
    assert DEADLINE <= time.monotonic() - start < DEADLINE + 10
    assert not caught.value.local


def test_a_client_of_a_sentinel_is_copied(sentinel: redis.sentinel.Sentinel) -> None:
    master = sentinel.master_for("master")  # type: ignore[no-untyped-call]  # likewise

    copied = maker(master, timeout=1.0)()

    assert isinstance(copied, redis.Redis)
    assert isinstance(copied.connection_pool, redis.sentinel.SentinelConnectionPool)


@pytest.mark.slow
@pytest.mark.skipif(RENAMED in os.environ, reason="this is that run")
def test_these_tests_pass_with_versions_that_have_other_private_names(tmp_path: Path) -> None:
    for name in COPIED:
        copy_renamed(name, tmp_path)
    ran = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "PYTHONPATH": str(tmp_path), RENAMED: "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout
    assert "1 skipped" in ran.stdout


def copy_renamed(package: str, folder: Path) -> None:
    """Put a copy of `package` with renamed private names into `folder`."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(
        Path(spec.origin).parent, folder / package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for module in (folder / package).rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        module.write_text(re.sub(rf"\b({PRIVATE})\b", r"\1_renamed", text), encoding="utf-8")
