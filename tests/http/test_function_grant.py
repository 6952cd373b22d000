"""`FunctionGrant`: what its function may return and raise."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pytest
import requests

from evertoken import (
    FunctionGrant,
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    MemoryStore,
    RevocationFailed,
    Token,
    TokenManager,
)
from evertoken.testing import Answer, Cut
from support.http_clients import manager_of
from support.logs import warned
from support.token_client import form_of
from support.values import pickled

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from evertoken.grants.fetched import Fetched
    from evertoken.testing import TokenServer

DAY = 86_400.0


def grant(fetch: Callable[[], Any], **options: Any) -> FunctionGrant:
    return FunctionGrant(fetch, name="billing", **options)


def fixed() -> tuple[str, float]:
    return "a-token", 60.0


# -- what it returns -------------------------------------------------------------------------------


def test_a_json_login_with_its_own_names(token_server: TokenServer) -> None:
    token_server.token_endpoint.answer_always(
        Answer.json({"token": "their-token", "validTill": time.time() + 600})
    )

    def log_in() -> tuple[str, float]:
        answer = requests.post(token_server.token_url, json={"password": "planted"}, timeout=10)
        answer.raise_for_status()
        body = answer.json()
        return body["token"], body["validTill"] - time.time()

    token = manager_of(token_server, grant=grant(log_in)).token()
    assert token.value == "their-token"
    assert token.lifetime == pytest.approx(600, abs=10)


def test_a_response_is_read_as_a_token_endpoint_answers(token_server: TokenServer) -> None:
    def log_in() -> requests.Response:
        return requests.post(token_server.token_url, form_of(token_server), timeout=10)

    token = grant(log_in).request()
    assert (token.scope, token.lifetime) == ("read write", 36_000)
    assert token.refresh_token


def test_the_times_of_a_token_count_only_for_its_lifetime() -> None:
    token = grant(lambda: Token("a-token", issued_at=0.0, expires_at=60.0, scope="read")).request()
    assert (token.value, token.scope, token.lifetime) == ("a-token", "read", 60.0)
    assert token.issued_at == pytest.approx(time.time(), abs=10)


def test_a_long_lifetime_is_cut_to_a_year() -> None:  # S18
    assert grant(lambda: ("a-token", 1e12)).request().lifetime == 365 * DAY


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (None, "must return"),
        ("planted-token", "must return"),
        (("planted-token",), "must return"),
        ((b"planted-token", 60), "must return"),
        (("planted-token", "60"), "must return"),
        (("planted-token", True), "lifetime"),
        (("planted-token", math.nan), "lifetime"),
        (("planted-token", math.inf), "lifetime"),
        (("planted-token", -1), "lifetime"),
        (("planted token", 60), "no header"),
        (("", 60), "no header"),
        (("planted\r\ntoken", 60), "no header"),
    ],
)
def test_a_result_that_is_not_a_token_raises_a_typed_error_without_showing_it(  # S15
    returned: object, reason: str
) -> None:
    with pytest.raises(InvalidTokenResponse, match=reason) as caught:
        grant(lambda: returned).request()
    assert "planted" not in str(caught.value)


# -- what it raises --------------------------------------------------------------------------------


def error_of(fetch: Callable[[], Any]) -> Exception:
    with pytest.raises((GrantRefused, GrantUnavailable, InvalidTokenResponse)) as caught:
        grant(fetch).request()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    return caught.value


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def fetch() -> NoReturn:
        raise error

    return fetch


def test_a_refusal_is_raised_unchanged_and_remembered(token_server: TokenServer) -> None:
    calls = []

    def log_in() -> Fetched:
        calls.append(1)
        raise GrantRefused("wrong PIN")

    manager = manager_of(token_server, grant=grant(log_in))
    for _ in range(3):
        with pytest.raises(GrantRefused, match="wrong PIN"):
            manager.token()
    assert len(calls) == 1


def test_changed_credentials_end_a_cool_down(token_server: TokenServer) -> None:  # S48
    pin = ["wrong"]

    def log_in() -> Fetched:
        if pin[0] == "wrong":
            raise GrantRefused("wrong PIN")
        return fixed()

    manager = manager_of(token_server, grant=grant(log_in, credentials=lambda: pin[0]))
    with pytest.raises(GrantRefused):
        manager.token()
    pin[0] = "right"
    deadline = time.monotonic() + 20
    while manager.status().state != "fresh":
        assert time.monotonic() < deadline
        try:
            manager.token()
        except GrantRefused:
            time.sleep(0.05)


def test_any_other_exception_is_a_local_failure_named_only_by_its_type() -> None:  # F31
    for error in (KeyError("planted-key"), SystemExit(3)):
        told = error_of(raising(error))
        assert isinstance(told, GrantUnavailable)
        assert told.local
        assert str(told) == f"fetch raised {type(error).__name__}"


@pytest.mark.parametrize(("status", "kind"), [(401, GrantRefused), (503, GrantUnavailable)])
def test_an_error_of_raise_for_status_is_judged_by_its_response(
    token_server: TokenServer, status: int, kind: type[Exception]
) -> None:
    token_server.refuse("invalid_grant" if status == 401 else "server_error", status=status)

    def log_in() -> NoReturn:
        requests.post(token_server.token_url, timeout=10).raise_for_status()
        raise AssertionError

    error = error_of(log_in)
    assert isinstance(error, kind)
    assert getattr(error, "status", None) == status


def test_a_lost_answer_binds_everyone_and_a_refused_connection_only_this_process(  # S53
    token_server: TokenServer,
) -> None:
    def log_in() -> requests.Response:
        return requests.post(token_server.token_url, form_of(token_server), timeout=10)

    token_server.token_endpoint.answer_next(Cut("head", keep=0))
    lost = error_of(log_in)
    token_server.close()
    refused = error_of(log_in)
    assert (getattr(lost, "local", None), getattr(refused, "local", None)) == (False, True)


def test_posted_secrets_are_masked_in_the_servers_text(  # S55
    token_server: TokenServer,
) -> None:
    token_server.refuse("invalid_grant", description="planted-password is wrong")

    def by_form() -> requests.Response:
        form = {"user": "ann", "pass": "planted-password"}
        return requests.post(token_server.token_url, form, timeout=10)

    def by_json() -> requests.Response:
        body: dict[str, Any] = {"user": "ann", "secret": {"pass": "planted-password"}}
        return requests.post(token_server.token_url, json=body, timeout=10)

    for fetch in (by_form, by_json):
        error = error_of(fetch)
        assert "planted" not in str(error)
        assert "is wrong" in str(error)


# -- identity --------------------------------------------------------------------------------------


def test_the_name_is_the_identity(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:  # S64
    assert grant(fixed).key == grant(fixed).key != FunctionGrant(fixed, name="other").key
    with pytest.raises(GrantUnavailable, match="billing at function:billing: fetch raised"):
        manager_of(token_server, grant=grant(raising(KeyError()))).token()
    assert "billing at function:billing" in warned(caplog)[0].getMessage()


def test_another_function_of_the_same_name_does_not_receive_the_token() -> None:  # S50
    memory = MemoryStore()
    manager = TokenManager(grant(fixed), memory=memory)
    assert manager.token().value == "a-token"
    assert TokenManager(grant(fixed), memory=memory).token() == manager.token()
    other = TokenManager(grant(lambda: ("their-own", 60)), memory=memory)
    assert other.token().value == "their-own"


def test_it_pickles_only_with_a_plain_function() -> None:  # F7
    assert pickled(grant(fixed)) == grant(fixed)
    for held in (grant(partial(str, "planted")), grant(fixed, credentials="planted")):
        with pytest.raises(TypeError, match="does not pickle") as caught:
            pickled(held)
        assert "planted" not in str(caught.value)


def test_it_is_revoked_by_a_function_or_only_dropped() -> None:
    revoked: list[str] = []
    token = grant(fixed).request()
    grant(fixed, revoke=lambda it: revoked.append(it.value)).revoke(token)
    assert revoked == ["a-token"]
    for held in (grant(fixed), grant(fixed, revoke=lambda _: 1 / 0)):
        with pytest.raises(RevocationFailed, match="forgotten here"):
            held.revoke(token)


def test_meaningless_options_are_rejected() -> None:
    with pytest.raises(ValueError, match="name"):
        FunctionGrant(fixed, name="")
    with pytest.raises(TypeError, match="callable"):
        FunctionGrant("text", name="billing")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ValueError, match="credentials"):
        grant(fixed, credentials="")


def test_its_hash_tells_other_credentials_apart() -> None:  # S48
    one, same, other = (
        grant(fixed, credentials=pin).read().tag(b"salt") for pin in ("1234", "1234", "5678")
    )
    assert one == same != other


def test_an_error_names_it_before_its_credentials_are_read() -> None:  # S64
    def missing() -> str:
        raise LookupError

    manager = TokenManager(grant(fixed, credentials=missing), memory=MemoryStore())
    with pytest.raises(GrantUnavailable, match=r"^billing at function:billing: could not read"):
        manager.token()
