"""Every grant keeps the grant contract, and the contract rejects grants that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import ClientCredentialsGrant, FunctionGrant, PasswordGrant, RefreshTokenGrant
from evertoken.testing import GrantContract
from support.contracts import outcomes_of
from support.token_client import form_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evertoken.ports import Grant
    from evertoken.testing import TokenServer


class TestPasswordGrant(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server: TokenServer) -> Callable[[], Grant]:
        return lambda: PasswordGrant(
            token_server.token_url,
            client_id=token_server.client_id,
            client_secret=token_server.client_secret,
            username=token_server.username,
            password=token_server.password,
            revoke_url=token_server.revoke_url,
        )


class TestPasswordGrantOfCallables(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server: TokenServer) -> Callable[[], Grant]:
        secret = lambda: token_server.client_secret  # noqa: E731  the same one for both grants
        password = lambda: token_server.password  # noqa: E731  likewise
        return lambda: PasswordGrant(
            token_server.token_url,
            client_id=token_server.client_id,
            client_secret=secret,
            username=token_server.username,
            password=password,
        )


class TestClientCredentialsGrant(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server: TokenServer) -> Callable[[], Grant]:
        return lambda: ClientCredentialsGrant(
            token_server.token_url,
            client_id=token_server.client_id,
            client_secret=token_server.client_secret,
            revoke_url=token_server.revoke_url,
        )


class TestClientCredentialsGrantWithAnAssertion(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server: TokenServer, tmp_path: Path) -> Callable[[], Grant]:
        path = tmp_path / "assertion"
        path.write_text(token_server.client_secret)
        return lambda: ClientCredentialsGrant(
            token_server.token_url, client_id=token_server.client_id, client_assertion=path
        )


class TestRefreshTokenGrant(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server: TokenServer) -> Callable[[], Grant]:
        first = token_server.log_in()
        return lambda: RefreshTokenGrant(
            token_server.token_url,
            account="fleet",
            client_id=token_server.client_id,
            client_secret=token_server.client_secret,
            refresh_token=first,
            revoke_url=token_server.revoke_url,
        )


class TestRefreshTokenGrantWithAFallback(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server: TokenServer) -> Callable[[], Grant]:
        def fallback() -> PasswordGrant:
            return PasswordGrant(
                token_server.token_url,
                client_id=token_server.client_id,
                client_secret=token_server.client_secret,
                username=token_server.username,
                password=token_server.password,
            )

        return lambda: RefreshTokenGrant(
            token_server.token_url,
            account="fleet",
            client_id=token_server.client_id,
            client_secret=token_server.client_secret,
            fallback=fallback(),
        )


class TestFunctionGrant(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server: TokenServer) -> Callable[[], Grant]:
        def log_in() -> requests.Response:
            return requests.post(token_server.token_url, form_of(token_server), timeout=10)

        return lambda: FunctionGrant(log_in, name="fleet", credentials=token_server.password)


# -- what the contract is worth --------------------------------------------------------------------


def test_a_grant_that_breaks_every_rule_fails_every_test() -> None:
    outcomes = outcomes_of("careless_grant.py")
    passed = {name for name, outcome in outcomes.items() if outcome == "PASSED"}
    assert passed == {
        # what even that one does
        "test_it_is_a_grant",
        "test_equal_credentials_are_one_identity",
        "test_the_identity_names_the_place_of_its_token",
        # it has no such method
        "test_two_readings_of_equal_credentials_are_equal",
    }


def test_a_contract_without_its_fixture_says_what_is_missing() -> None:
    make = GrantContract.make_grant
    with pytest.raises(NotImplementedError, match="make_grant"):
        make.__wrapped__(GrantContract())  # type: ignore[attr-defined]  # the fixture's function
